import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { findOnPath } from '../../src/platform/tools.ts';
import { readStat } from '../../src/drivers/proc.ts';
import { MAIN } from '../support/cluster.ts';
import { freePort } from '../support/free-port.ts';
import { until } from '../support/until.ts';
import { launch, processDriverIn } from '../drivers/helpers.ts';

/** What says that a node left for good: systemd does not start such an agent again. */
const LEFT = 130;

interface Agent {
  child: ChildProcess;
  ended: Promise<number | null>;
  said: () => string;
}

async function agentIn(
  t: ExecutionContext,
  stateDir: string,
  { etcd, env = {} }: { etcd: Record<string, unknown>; env?: Record<string, string> },
): Promise<Agent> {
  const config = join(stateDir, 'agent.yaml');
  const settings = {
    ...{ name: 'node-1', 'state-dir': stateDir, roles: ['apps'], etcd },
    ...{ admin: { listen: await place() }, rpc: { listen: false }, peer: { listen: await place() } },
  };
  writeFileSync(config, JSON.stringify(settings));
  const child = spawn(process.execPath, [MAIN, 'run', '--config', config], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  return { child, ended: once(child, 'close').then(([code]) => code as number | null), said: () => said };
}

async function place(): Promise<string> {
  return `127.0.0.1:${await freePort()}`;
}

/** Its process runs on without its driver. */
async function leftRunning(t: ExecutionContext, stateDir: string): Promise<number> {
  const driver = processDriverIn(t, stateDir);
  const { pid } = await driver.start(launch());
  await driver.close();
  return pid!;
}

/** Nobody may have asked yet how. */
function hasEnded(pid: number): boolean {
  return ['Z', undefined].includes(readStat(pid)?.state);
}

function stateDirectory(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'hop3-leave-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }));
  return directory;
}

test('an agent that is told to leave while it starts ends what the one before it ran', async t => {
  const stateDir = stateDirectory(t);
  const pid = await leftRunning(t, stateDir);
  const bin = join(stateDir, 'bin');
  mkdirSync(bin);
  // Its own etcd, which it waits for, takes its time.
  const waiting = `: > ${bin}/asked; while [ ! -e ${bin}/go ]; do sleep 0.02; done`;
  const real = await findOnPath('etcd', process.env['PATH']);
  const script = `#!/bin/sh\n[ "$1" = --version ] || { ${waiting}; }\nexec ${real} "$@"\n`;
  writeFileSync(join(bin, 'etcd'), script, { mode: 0o755 });
  const agent = await agentIn(t, stateDir, {
    etcd: { managed: { 'client-port': await freePort(), 'peer-port': await freePort() } },
    env: { PATH: `${bin}:${process.env['PATH'] ?? ''}` },
  });
  await until('the agent is starting', () => existsSync(join(bin, 'asked')));
  agent.child.kill('SIGINT');
  writeFileSync(join(bin, 'go'), '');
  t.is(await agent.ended, LEFT, agent.said());
  t.true(hasEnded(pid), agent.said());
});

test('an agent that could not leave in order does not end as one that did', async t => {
  const stateDir = stateDirectory(t);
  const pid = await leftRunning(t, stateDir);
  // It can't be replaced by a file.
  mkdirSync(join(stateDir, 'state', 'last-run.json'), { recursive: true });
  const agent = await agentIn(t, stateDir, { etcd: { endpoints: [`http://${await place()}`] } });
  await until('the agent is up', () => agent.said().includes('the agent is up'));
  agent.child.kill('SIGINT');
  t.is(await agent.ended, 1, agent.said());
  t.regex(agent.said(), /leaving did not go well: .*last-run/);
  t.true(hasEnded(pid), 'what it could do, it did');
});
