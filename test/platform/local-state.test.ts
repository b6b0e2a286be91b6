import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';

import { fileState } from '../../src/platform/local-state.ts';
import type { LocalState } from '../../src/ports/local-state.ts';
import { FakeLog } from '../support/fake-log.ts';

interface Scene {
  stateDir: string;
  log: FakeLog;
  state: LocalState;
  newest: string;
  previous: string;
}

/** Two generations of `session` on file: 1, then 2. */
async function twoGenerations(t: ExecutionContext): Promise<Scene> {
  const stateDir = mkdtempSync(join(tmpdir(), 'hop3-state-'));
  t.teardown(() => rmSync(stateDir, { recursive: true }));
  const log = new FakeLog();
  const state = fileState({ stateDir, log });
  await state.write('session', { generation: 1 });
  await state.write('session', { generation: 2 });
  const newest = join(stateDir, 'state', 'session.json');
  return { stateDir, log, state, newest, previous: join(stateDir, 'state', 'session.previous.json') };
}

const damages: { name: string; damage: (file: string) => void }[] = [
  { name: 'cut short', damage: file => truncateSync(file, 20) },
  { name: 'empty, as after a power failure', damage: file => truncateSync(file, 0) },
  { name: 'not JSON', damage: file => writeFileSync(file, '\0\0\0\0') },
  { name: 'another JSON', damage: file => writeFileSync(file, 'null') },
  {
    name: 'one bit off',
    damage: file => writeFileSync(file, readFileSync(file, 'utf8').replace('generation', 'generatiom')),
  },
  { name: 'missing', damage: file => rmSync(file) },
];

for (const { name, damage } of damages) {
  test(`when the newest is ${name}, the generation before is used, and that is told`, async t => {
    const { state, log, newest } = await twoGenerations(t);
    damage(newest);
    t.deepEqual(await state.read('session'), { generation: 1 });
    t.deepEqual(
      log.lines.map(({ level }) => level),
      ['warn'],
    );
    t.is(log.matching('session.json').length, 1);
  });

  test(`a newest that is ${name} does not push out the good generation before it`, async t => {
    const { state, newest, previous } = await twoGenerations(t);
    damage(newest);
    await state.write('session', { generation: 3 });
    t.deepEqual(await state.read('session'), { generation: 3 });
    t.true(readFileSync(previous, 'utf8').includes('\\"generation\\":1'));
  });

  test(`when both are ${name}, there is nothing, and only what is damaged is told`, async t => {
    const { state, log, newest, previous } = await twoGenerations(t);
    damage(newest);
    damage(previous);
    t.is(await state.read('session'), null);
    t.is(log.lines.filter(({ level }) => level === 'error').length, name === 'missing' ? 0 : 1);
  });
}

test('the files are readable by this user only, and no temporary one stays', async t => {
  const { stateDir } = await twoGenerations(t);
  const directory = join(stateDir, 'state');
  t.deepEqual(readdirSync(directory).toSorted(), ['session.json', 'session.previous.json']);
  for (const name of ['.', 'session.json']) t.is(statSync(join(directory, name)).mode & 0o077, 0, name);
});

test('a failed write is told to its writer, keeps what was there, and the next one succeeds', async t => {
  const { state, newest } = await twoGenerations(t);
  const circular: Record<string, unknown> = {};
  circular['self'] = circular;
  await t.throwsAsync(async () => state.write('session', circular), { instanceOf: TypeError });
  const obstacle = `${newest}.tmp`;
  mkdirSync(obstacle);
  await t.throwsAsync(state.write('session', { generation: 3 }), { code: 'EISDIR' });
  t.deepEqual(await state.read('session'), { generation: 2 });
  rmdirSync(obstacle);
  await state.write('session', { generation: 4 });
  t.deepEqual(await state.read('session'), { generation: 4 });
});

test('a name that could leave the directory is refused', async t => {
  const { state } = await twoGenerations(t);
  for (const name of ['../x', 'a/b', '', '.', 'A', 'x.json']) {
    await t.throwsAsync(async () => state.write(name, 1), { instanceOf: RangeError }, name);
    await t.throwsAsync(async () => state.read(name), { instanceOf: RangeError }, name);
  }
});
