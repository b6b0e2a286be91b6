import test, { type ExecutionContext } from 'ava';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CliFailure } from '../../src/cli/failure.ts';
import { endLeftovers, requireApiPorts, runnableHere } from '../../src/main/dev-machine.ts';
import { systemClock } from '../../src/platform/clock.ts';

const rows: { title: string; manifest: string; leftOut: RegExp | null }[] = [
  {
    title: 'python3',
    manifest: 'run: {start: python3 clock.py}',
    leftOut: /^app\.yaml .*python3.*install python3\)$/,
  },
  {
    title: 'a worker in Ruby',
    manifest: 'run: {start: node a.js, workers: {b: ruby b.rb}}',
    leftOut: /^app\.yaml .*install ruby\)$/,
  },
  { title: 'what the source brings along', manifest: 'run: {start: ./server}', leftOut: null },
  { title: 'what a build brings along', manifest: 'run: {start: gunicorn app:app}', leftOut: null },
  { title: 'nothing, for a static site', manifest: 'build: {static-dir: public}', leftOut: null },
  { title: 'something, but is wrong', manifest: 'run: {begin: python3 clock.py}', leftOut: null },
];
for (const { title, manifest, leftOut } of rows) {
  test(`an app that needs ${title} is ${leftOut ? 'left out, in words' : 'left to apply'}`, async t => {
    const directory = await temporaryDirectory(t);
    const file = join(directory, 'app.yaml');
    await writeFile(file, `metadata: {id: app}\nsource: {path: .}\n${manifest}\n`);
    const lacking = await runnableHere([file], directory);
    t.deepEqual(lacking.files, leftOut ? [] : [file]);
    t.regex(lacking.leftOut.join(), leftOut ?? /^$/);

    for (const program of ['python3', 'ruby']) {
      await writeFile(join(directory, program), '#!/bin/sh\n');
      await chmod(join(directory, program), 0o755);
    }
    t.deepEqual(await runnableHere([file], directory), { files: [file], leftOut: [] });
  });
}

test('a file that is not there is left to apply', async t => {
  t.deepEqual(await runnableHere(['/nowhere.yaml'], ''), { files: ['/nowhere.yaml'], leftOut: [] });
});

for (const [use, above] of [
  ['admin API', 0],
  ['peers', 100],
] as const) {
  test(`a taken port for the ${use} is named with the node that needs it and who has it`, async t => {
    const server = createServer().listen(0, '127.0.0.1');
    t.teardown(() => server.close());
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const error = await t.throwsAsync(requireApiPorts(['node-2'], port - above), {
      instanceOf: CliFailure,
    });
    t.regex(
      error.message,
      new RegExp(`^port ${port}, for the ${use} of node-2, is taken by process ${process.pid} `),
    );
    t.regex(error.hint ?? '', /--api-port/);
  });
}

test('only the agents of this state directory are ended', async t => {
  const [ours, others] = [await temporaryDirectory(t), await temporaryDirectory(t)];
  const [left, other] = [await agent(t, ours), await agent(t, others)];
  const ended = once(left, 'exit');
  await endLeftovers(ours, ['node-1'], systemClock());
  t.deepEqual(await ended, [null, 'SIGTERM']);
  t.is(other.exitCode ?? other.signalCode, null);
  await endLeftovers(ours, ['node-1'], systemClock());
});

/** A process that looks like the agent of node-1. */
async function agent(t: ExecutionContext, stateDir: string) {
  await mkdir(join(stateDir, 'node-1'));
  const config = join(stateDir, 'node-1', 'agent.yaml');
  const child = spawn(process.execPath, [
    '-e',
    'setInterval(() => 0, 1000)',
    '--',
    'run',
    '--config',
    config,
  ]);
  t.teardown(() => child.kill('SIGKILL'));
  await once(child, 'spawn');
  return child;
}

async function temporaryDirectory(t: ExecutionContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'hop3-dev-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}
