import test from 'ava';
import { timestampOf } from '../../src/model/civil.ts';
import type { OwnerRecord, WaiterRecord } from '../../src/model/records.ts';
import { abandonedNames, forgottenNames } from '../../src/ownership/forgotten-names.ts';
import { releasedRecord, takenRecord } from '../../src/ownership/records.ts';

const DAY_MS = 86_400_000;
const NOW_MS = Date.parse('2026-06-01T00:00:00.000Z');

function owner(name: string, agoDays: number | null, parts: Partial<OwnerRecord> = {}, revision = 5n) {
  const taken = takenRecord(
    null,
    {
      ...{ subject: name, node: 'node-1', incarnation: 'i', ttlSeconds: 10, holder: 'h', operation: 'o' },
      ...{ exclusive: true, tokenBase: '0' },
    },
    false,
  );
  const at = timestampOf(NOW_MS - (agoDays ?? 0) * DAY_MS);
  const value = agoDays === null ? taken : releasedRecord(taken, '5', at, 'done');
  return { name, value: { ...value, ...parts }, revision };
}

function waiter(agent: string): { value: WaiterRecord } {
  return { value: { v: 1, agent, node: 'node-2', incarnation: 'i', holder: 'h', since: '' } };
}

const cases: [what: string, owned: ReturnType<typeof owner>, waits: string[], goes: boolean][] = [
  ['a name that was released long ago goes', owner('agent/a', 31), [], true],
  ['one that was released lately stays', owner('agent/a', 29), [], false],
  ['one that somebody has stays', owner('agent/a', null), [], false],
  ['one that somebody waits for stays', owner('agent/a', 31), ['a'], false],
  [
    'one that something may still be at work under stays',
    owner('agent/a', 31, { mayStillRun: ['n'] }),
    [],
    false,
  ],
  ['what is not a name stays', owner('instance/blog/web/0', 31), [], false],
  ['what waits for another name changes nothing', owner('agent/a', 31), ['b'], true],
];
for (const [what, owned, waits, goes] of cases) {
  test(what, t => {
    t.is(forgottenNames([owned], waits.map(waiter), NOW_MS).length, goes ? 1 : 0);
  });
}

test('of very many free names, those go first that were released first', t => {
  const many = Array.from({ length: 1003 }, (_, index) =>
    owner(`agent/n${index}`, 1, {}, BigInt(2000 - index)),
  );
  t.deepEqual(
    forgottenNames(many, [], NOW_MS).map(({ name }) => name),
    ['agent/n1002', 'agent/n1001', 'agent/n1000'],
  );
});

const MINUTE_MS = 60_000;
const left: [
  what: string,
  owned: ReturnType<typeof owner>,
  goneMs: number,
  waits: string[],
  goes: boolean,
][] = [
  ['a name whose session went long ago is abandoned', owner('agent/a', null), 11 * MINUTE_MS, [], true],
  ['one whose session went just now is not', owner('agent/a', null), 9 * MINUTE_MS, [], false],
  ['one whose session is there is not', owner('agent/a', null), 0, [], false],
  ['one that somebody waits for is not', owner('agent/a', null), 11 * MINUTE_MS, ['a'], false],
  ['one that was released is not', owner('agent/a', 1), 11 * MINUTE_MS, [], false],
  ['what is not a name is not', owner('instance/blog/web/0', null), 11 * MINUTE_MS, [], false],
];
for (const [what, owned, goneMs, waits, goes] of left) {
  test(what, t => {
    t.deepEqual(
      abandonedNames([owned], waits.map(waiter), () => goneMs),
      goes ? ['a'] : [],
    );
  });
}
