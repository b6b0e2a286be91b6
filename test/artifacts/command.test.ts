import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { runCommand, shellCommand, withoutCredentials } from '../../src/artifacts/command.ts';
import { ArtifactError } from '../../src/ports/artifacts.ts';
import { until } from '../support/until.ts';
import { never, realClock, temporaryDirectory } from './helpers.ts';

const place = { directory: tmpdir(), env: { PATH: process.env['PATH'] ?? '' }, timeoutSeconds: 30 };

async function failure(command: string, changes: Partial<typeof place> = {}): Promise<ArtifactError> {
  const running = runCommand(
    shellCommand(command, { ...place, ...changes }),
    realClock,
    () => undefined,
    never,
  );
  return running.then(
    () => {
      throw new Error(`\`${command}\` did not fail`);
    },
    (error: unknown) => error as ArtifactError,
  );
}

test('both output streams come line by line, the last one also without its end', async t => {
  const lines: string[] = [];
  await runCommand(
    shellCommand('echo out; echo err >&2; printf last', place),
    realClock,
    line => lines.push(line),
    never,
  );
  t.deepEqual(lines.toSorted(), ['err', 'last', 'out']);
});

test('nothing of our own environment leaks in', async t => {
  const lines: string[] = [];
  await runCommand(shellCommand('echo "[$HOME][$USER]"', place), realClock, line => lines.push(line), never);
  t.deepEqual(lines, ['[][]']);
});

const failures: { name: string; command: string; message: RegExp }[] = [
  { name: 'an exit code', command: 'exit 7', message: /`exit 7` failed with exit code 7/ },
  { name: 'a signal', command: 'kill -9 $$', message: /was ended by SIGKILL/ },
  { name: 'a command that does not exist', command: 'no-such-command', message: /exit code 127/ },
];
for (const { name, command, message } of failures) {
  test(`${name} is a failure`, async t => {
    const error = await failure(command);
    t.true(error instanceof ArtifactError);
    t.regex(error.message, message);
    t.false(error.retryable);
  });
}

test('a directory that does not exist is a failure, not a crash', async t => {
  t.regex((await failure('true', { directory: '/no/such/place' })).message, /cannot be started/);
});

test('a failure carries the last 20 lines', async t => {
  const { output } = await failure('i=0; while [ $i -lt 50 ]; do i=$((i+1)); echo line $i; done; exit 1');
  t.is(output.length, 20);
  t.is(output.at(0), 'line 31');
  t.is(output.at(-1), 'line 50');
});

test('a command that takes too long is ended, with all it started', async t => {
  const directory = await temporaryDirectory(t);
  const error = await failure('sleep 300 & echo $! > pid; wait', { directory, timeoutSeconds: 3 });
  t.regex(error.message, /took longer than 3 s/);
  await dies(Number(await readFile(join(directory, 'pid'), 'utf8')));
  t.pass();
});

test('an aborted command is ended, with all it started, also when it does not listen', async t => {
  const directory = await mkdtemp(join(tmpdir(), 'hop3-command-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const controller = new AbortController();
  const running = runCommand(
    shellCommand("trap '' TERM; sleep 300 & echo $! > pid; echo started; while :; do wait; done", {
      ...place,
      directory,
    }),
    realClock,
    () => controller.abort(new Error('enough')),
    controller.signal,
  );
  await t.throwsAsync(running, { message: 'enough' });
  await dies(Number(await readFile(join(directory, 'pid'), 'utf8')));
});

test('what a command leaves running is ended with it, and does not keep us waiting', async t => {
  const directory = await temporaryDirectory(t);
  await runCommand(
    shellCommand('sleep 300 & echo $! > pid', { ...place, directory }),
    realClock,
    () => undefined,
    never,
  );
  await dies(Number(await readFile(join(directory, 'pid'), 'utf8')));
  t.pass();
});

test('an aborted signal starts nothing', async t => {
  const aborted = AbortSignal.abort(new Error('enough'));
  await t.throwsAsync(
    runCommand(shellCommand('true', place), realClock, () => undefined, aborted),
    { message: 'enough' },
  );
});

test('credentials in addresses are not shown', t => {
  t.is(
    withoutCredentials("fatal: 'https://me:secret@host/x' and ssh://git@host/y"),
    "fatal: 'https://host/x' and ssh://host/y",
  );
});

async function dies(pid: number): Promise<void> {
  await until(`process ${pid} has ended`, async () => {
    // A killed process nobody waits for stays in the table as a zombie until init reaps it.
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ') Z');
    return /\) Z/.test(stat);
  });
}
