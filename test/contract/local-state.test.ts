import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';

import { fileState } from '../../src/platform/local-state.ts';
import type { LocalState } from '../../src/ports/local-state.ts';
import { FakeLocalState } from '../support/fake-local-state.ts';
import { FakeLog } from '../support/fake-log.ts';

/** Each call gives what a new process would see. */
const worlds: Record<string, (t: ExecutionContext) => () => LocalState> = {
  fake() {
    const documents = new Map<string, string>();
    return () => new FakeLocalState(documents);
  },
  file(t) {
    const stateDir = mkdtempSync(join(tmpdir(), 'hop3-state-'));
    t.teardown(() => rmSync(stateDir, { recursive: true }));
    return () => fileState({ stateDir, log: new FakeLog() });
  },
};

for (const [name, world] of Object.entries(worlds)) {
  test(`${name}: what was never written is null`, async t => {
    t.is(await world(t)().read('session'), null);
  });

  test(`${name}: any JSON is read as it was written, by a new process too`, async t => {
    const state = world(t);
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), async value => {
        const plain = JSON.parse(JSON.stringify(value)) as unknown;
        await state().write('session', value);
        t.deepEqual(await state().read('session'), plain);
      }),
      { numRuns: 40 },
    );
  });

  test(`${name}: documents do not touch each other`, async t => {
    const state = world(t)();
    await Promise.all([state.write('one', 1), state.write('two', 2)]);
    t.deepEqual([await state.read('one'), await state.read('two')], [1, 2]);
  });

  test(`${name}: of writes in a row the last one stays, and a read after them sees it`, async t => {
    const state = world(t)();
    const writes = [1, 2, 3, 4, 5].map(value => state.write('counter', { value }));
    t.deepEqual(await state.read('counter'), { value: 5 });
    await Promise.all(writes);
    t.deepEqual(await state.read('counter'), { value: 5 });
  });

  test(`${name}: what is changed after it was given or got does not change what is kept`, async t => {
    const state = world(t)();
    const given = { list: [1] };
    const writing = state.write('list', given);
    given.list.push(2);
    await writing;
    const got = (await state.read('list')) as typeof given;
    got.list.push(3);
    t.deepEqual(await state.read('list'), { list: [1] });
  });
}
