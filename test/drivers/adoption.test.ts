import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';

import { isAlive, readStat } from '../../src/drivers/proc.ts';
import {
  exitOf,
  launch,
  linesOf,
  processDriverIn,
  processesWith,
  temporaryDirectory,
  textsOf,
  unitOf,
} from './helpers.ts';
import { until } from '../support/until.ts';

const AGENT = fileURLToPath(new URL('lone-agent.ts', import.meta.url));

/** A driver in a process of its own; `said` grows as its units are started. */
function loneAgent(
  t: ExecutionContext,
  stateDir: string,
  count: number,
  command: string,
): { agent: ChildProcess; said: { unit: string; pid: number }[] } {
  const agent = spawn(process.execPath, ['--import=tsx', AGENT, stateDir, String(count), command], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => agent.kill('SIGKILL'));
  const said: { unit: string; pid: number }[] = [];
  let text = '';
  agent.stdout.setEncoding('utf8').on('data', (more: string) => {
    text += more;
    const lines = text.split('\n');
    text = lines.pop() ?? '';
    for (const line of lines) said.push({ unit: line.split(' ')[0]!, pid: Number(line.split(' ')[1]) });
  });
  return { agent, said };
}

async function killed(agent: ChildProcess): Promise<void> {
  const exit = once(agent, 'exit');
  agent.kill('SIGKILL');
  await exit;
}

/** Changes what is on file of a unit, as if it had been written by another driver. */
function changeRecord(
  stateDir: string,
  unit: string,
  change: (record: Record<string, unknown>) => void,
): void {
  const file = join(stateDir, 'units', 'process', `${unit}.json`);
  const record = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  change(record);
  writeFileSync(file, JSON.stringify(record));
}

test('units outlive an agent that is killed, with pid and output; the next one watches and stops them', async t => {
  const stateDir = temporaryDirectory(t);
  const { agent, said } = loneAgent(
    t,
    stateDir,
    2,
    `trap 'echo @ ends; exit 4' TERM; i=0; while :; do i=$((i+1)); echo @ $i; sleep 0.05; done`,
  );
  await until('both were started', () => said.length === 2);
  await killed(agent);
  const driver = processDriverIn(t, stateDir);
  const units = await driver.observe();
  t.deepEqual(
    units.map(({ unit, pid }) => ({ unit, pid })).toSorted((a, b) => a.pid! - b.pid!),
    said,
  );
  t.true(units.every(({ exit }) => exit === null));

  const before = (await linesOf(driver, 'blog/web/0', 1000)).length;
  await until(
    'they go on writing',
    async () => (await linesOf(driver, 'blog/web/0', 1000)).length > before + 2,
  );

  process.kill(said[0]!.pid, 'SIGKILL');
  // Not our child: that it ended is all that can be known.
  t.like(await exitOf(driver, said[0]!.unit), { code: null, signal: null, requested: false });
  await driver.stop(said[1]!.unit, 20);
  const exit = await exitOf(driver, said[1]!.unit);
  t.true(exit.requested);
  t.true(exit.lastOutput.includes('unit-1 ends'));
});

for (const round of [1, 2, 3, 4]) {
  test(`killed at any moment, an agent leaves no command running that the next one does not know (${round})`, async t => {
    const stateDir = temporaryDirectory(t);
    const marker = join(stateDir, 'ran-');
    const { agent, said } = loneAgent(t, stateDir, 30, `: > ${marker}@; exec sleep 300`);
    await until('some were started', () => said.length >= round * 3);
    await killed(agent);
    const driver = processDriverIn(t, stateDir);
    const known = await driver.observe();
    const ours = (): number[] => processesWith(stateDir);
    // Shells still at the gate leave by themselves.
    await until('all that runs is known', () => {
      const strangers = ours().filter(pid => !known.some(unit => unit.pid === readStat(pid)?.session));
      return strangers.length === 0;
    });
    const ran = readdirSync(stateDir).filter(name => name.startsWith('ran-'));
    t.true(ran.length > 0);
    for (const name of ran)
      t.true(
        known.some(({ unit }) => `ran-${unit}` === name),
        name,
      );
    for (const { unit, pid } of said) t.is(known.find(found => found.unit === unit)?.pid, pid);
  });
}

test('a unit that ended while nobody watched has ended, for reasons unknown but with its last words', async t => {
  const stateDir = temporaryDirectory(t);
  const before = processDriverIn(t, stateDir);
  const { unit, instance, pid } = await before.start(
    launch({ command: 'echo last words >&2; exec sleep 300' }),
  );
  await until('it has spoken', async () => (await linesOf(before, instance)).length > 0);
  await before.close();
  process.kill(pid!, 'SIGKILL');
  await until('it has ended', () => readStat(pid!) === null);
  const driver = processDriverIn(t, stateDir);
  t.deepEqual((await unitOf(driver, unit))?.exit, {
    code: null,
    signal: null,
    lastOutput: ['last words'],
    requested: false,
  });
});

const strangers: { name: string; change: (record: Record<string, unknown>) => void }[] = [
  {
    name: 'another start time',
    change: record => (record['startTime'] = (record['startTime'] as number) - 1),
  },
  { name: 'another boot', change: record => (record['bootId'] = '00000000-0000-0000-0000-000000000000') },
];

for (const { name, change } of strangers) {
  test(`a process with the pid on file but of ${name} is not the unit, and is left alone`, async t => {
    const stateDir = temporaryDirectory(t);
    const before = processDriverIn(t, stateDir);
    const { unit, pid } = await before.start(launch({ command: 'exec sleep 300' }));
    await before.close();
    const { startTime } = readStat(pid!)!;
    t.teardown(() => process.kill(pid!, 'SIGKILL'));
    changeRecord(stateDir, unit, change);

    const driver = processDriverIn(t, stateDir);
    t.like((await unitOf(driver, unit))?.exit, { code: null, signal: null });
    await driver.stop(unit, 0);
    await driver.forget(unit);
    t.true(isAlive({ pid: pid!, startTime }));
    t.deepEqual(await driver.observe(), []);
  });
}

const leftovers = [
  { name: 'still writes to its output is ended', command: 'sleep 300 & echo ready; wait', left: false },
  {
    name: 'nothing ties to the unit is left alone',
    command: 'sleep 300 >/dev/null 2>&1 & echo ready; wait',
    left: true,
  },
];

for (const { name, command, left } of leftovers) {
  test(`of a unit whose main process ended while nobody watched, a session that ${name}`, async t => {
    const stateDir = temporaryDirectory(t);
    const before = processDriverIn(t, stateDir);
    const env = { MARK: stateDir, PATH: process.env['PATH']! };
    const { unit, instance, pid } = await before.start(launch({ command, env }));
    await until('it is ready', async () => (await linesOf(before, instance)).length > 0);
    await before.close();
    process.kill(pid!, 'SIGKILL');
    await until('only the child is left', () => {
      const pids = processesWith(stateDir);
      return pids.length === 1 && pids[0] !== pid;
    });
    t.teardown(() => processesWith(stateDir).forEach(child => process.kill(child, 'SIGKILL')));

    const driver = processDriverIn(t, stateDir);
    await driver.stop(unit, 0);
    t.is(processesWith(stateDir).length, left ? 1 : 0);
  });
}

test('output written while no agent was there is followed by the next one', async t => {
  const stateDir = temporaryDirectory(t);
  const go = join(stateDir, 'go');
  const before = processDriverIn(t, stateDir);
  const command = `echo one; while [ ! -e ${go} ]; do sleep 0.02; done; echo two; touch ${go}.done; sleep 300`;
  const { instance } = await before.start(launch({ command }));
  await until('the first line is there', async () => (await linesOf(before, instance)).length === 1);
  await before.close();
  writeFileSync(go, '');
  await until('the second line is written', () => existsSync(`${go}.done`));
  const driver = processDriverIn(t, stateDir);
  t.deepEqual(textsOf(await linesOf(driver, instance)), ['one', 'two']);
});
