import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { runnableHere } from '../../src/main/dev-machine.ts';
import { findOnPath } from '../../src/platform/tools.ts';
import { freePort } from '../support/free-port.ts';
import { until } from '../support/until.ts';

const samples: [string, string, string, string[]][] = [
  ['guestbook.yaml', 'guestbook', 'node', ['server.js']],
  ['clock.yaml', 'clock-py', 'python3', ['clock.py']],
];

for (const [manifest, sample, program, args] of samples) {
  test(`${sample} answers, and on SIGTERM ends by itself although a connection is kept open`, async t => {
    if ((await findOnPath(program, process.env['PATH'])) === null) {
      const { leftOut } = await runnableHere([`manifests/${manifest}`], process.env['PATH']);
      t.regex(leftOut.join(), new RegExp(`^${manifest} is left out: .*${program}, which this machine lacks`));
      return;
    }
    const { child, port } = await start(t, sample, program, args);
    const agent = new Agent({ keepAlive: true });
    t.teardown(() => agent.destroy());
    await until(`${sample} answers`, () => get(port, '/health', agent).then(isOk, () => false));
    child.kill('SIGTERM');
    t.deepEqual(await once(child, 'exit'), [0, null]);
  });
}

test('guestbook crashes when it is told to', async t => {
  const { child, port } = await start(t, 'guestbook', 'node', ['server.js']);
  await until('it answers', () => get(port, '/health').then(isOk, () => false));
  const exit = once(child, 'exit');
  t.is(await get(port, '/crash', undefined, 'POST'), 202);
  t.deepEqual(await exit, [1, null]);
});

async function start(
  t: ExecutionContext,
  sample: string,
  program: string,
  args: string[],
): Promise<{ child: ChildProcess; port: number }> {
  const port = await freePort();
  const data = await mkdtemp(join(tmpdir(), 'sample-'));
  const child = spawn(program, args, {
    cwd: fileURLToPath(new URL(`../../manifests/${sample}`, import.meta.url)),
    env: { PATH: process.env['PATH'], PORT: String(port), BIND_ADDRESS: '127.0.0.1', DATA_DIR: data },
    stdio: 'ignore',
  });
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    await rm(data, { recursive: true });
  });
  return { child, port };
}

async function get(port: number, path: string, agent?: Agent, method = 'GET'): Promise<number> {
  const sent = request({ host: '127.0.0.1', port, path, method, agent }).end();
  const [response] = (await once(sent, 'response')) as [{ statusCode: number; resume(): void }];
  response.resume();
  await once(response as unknown as NodeJS.EventEmitter, 'end');
  return response.statusCode;
}

function isOk(status: number): boolean {
  return status === 200;
}
