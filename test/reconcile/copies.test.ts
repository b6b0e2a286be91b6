import test from 'ava';
import { isSerial, sortCopies, startDueMs } from '../../src/reconcile/copies.ts';
import { appSpec, desiredInstance, processSpec, unit, unitExit } from '../support/nouns.ts';

const desired = desiredInstance({ version: '2' });

test('each copy is in the one place that fits it', t => {
  const copies = sortCopies(
    desired,
    [
      unit({ unit: 'old' }),
      unit({ unit: 'new', version: '2' }),
      unit({ unit: 'newer', version: '2', startedMs: 5, phase: { kind: 'starting' } }),
      unit({ unit: 'slow', version: '2', startedMs: -30_000, phase: { kind: 'starting' } }),
      unit({ unit: 'gone', phase: { kind: 'exited', sinceMs: 0, exit: unitExit() } }),
      unit({ unit: 'going', phase: { kind: 'draining', sinceMs: 0 } }),
    ],
    10,
  );
  t.is(copies.serving?.unit, 'new');
  t.deepEqual(names(copies.current), ['newer', 'new']);
  t.deepEqual(names(copies.outdated), ['old']);
  t.deepEqual(names(copies.sick.map(({ unit: each }) => each)), ['slow']);
  t.deepEqual(names(copies.leaving), ['going']);
  t.deepEqual(names(copies.exited), ['gone']);
});

const beside = [
  unit({ unit: 'settled', version: '2' }),
  unit({ unit: 'beside', version: '3', startedMs: 5 }),
];
const starting = unit({ unit: 'new', version: '4', startedMs: 7, phase: { kind: 'starting' } });
const gone = unit({ unit: 'settled', version: '2', phase: { kind: 'stopping', sinceMs: 0 } });
const older: [string, string | null, Parameters<typeof sortCopies>[1]][] = [
  ['that of the release before, whatever stood ready beside it', 'settled', [...beside, starting]],
  ['any other, when that one is gone', 'beside', [gone, ...beside.slice(1), starting]],
  [
    'none, once the wanted one is ready',
    'new',
    [...beside, { ...starting, phase: { kind: 'ready', sinceMs: 8 } }],
  ],
];
for (const [title, serving, units] of older) {
  test(`of older copies gets the requests: ${title}`, t => {
    t.is(
      sortCopies(desiredInstance({ version: '4', before: '2' }), units, 10).serving?.unit ?? null,
      serving,
    );
  });
}

test('what only stood ready beside nothing, and is passed over, is stopped and gets no requests', t => {
  for (const serves of ['now', 'not-yet'] as const) {
    const next = desiredInstance({ version: '4', release: 4, serves, passedOver: [3] });
    const passed = unit({ unit: 'passed', version: '3', release: 3 });
    const { serving, outdated, sick } = sortCopies(next, [passed, starting], 10);
    t.is(serving, null);
    t.deepEqual(outdated, []);
    t.deepEqual(names(sick.map(({ unit: each }) => each)), ['passed']);
  }
});

test('a hung copy is left as it is while it could not be started again', t => {
  const hung = unit({ phase: { kind: 'unhealthy', sinceMs: 0, failures: 3, evidence: 'silent' } });
  t.is(sortCopies(desiredInstance(), [hung], 10).sick.length, 1);
  t.is(sortCopies(desiredInstance({ mayStart: false }), [hung], 10).sick.length, 0);
});

const ports = [{ number: 25, protocol: 'tcp' as const, name: null }];
const volumes = [{ name: 'data', target: 'data' }];
const serial: [string, boolean, Parameters<typeof desiredInstance>[0]][] = [
  ['a web app is replaced beside itself', false, {}],
  ['an exclusive process is replaced alone', true, { process: processSpec({ exclusive: true }) }],
  ['an app with a fixed port is replaced alone', true, { spec: appSpec({ ports }) }],
  [
    'what has no fixed port is replaced beside itself, whatever others of its app have',
    false,
    { process: processSpec({ type: 'mailer' }), spec: appSpec({ ports }) },
  ],
  ['an app with a volume is replaced alone', true, { spec: appSpec({ volumes }) }],
];
for (const [title, expected, parts] of serial) {
  test(title, t => t.is(isSerial(desiredInstance(parts)), expected));
}

test('only a starting copy can be late', t => {
  t.is(startDueMs(unit({ phase: { kind: 'starting' }, startedMs: 7 }), desired), 30_007);
  t.is(startDueMs(unit(), desired), null);
});

function names(units: { unit: string }[]): string[] {
  return units.map(each => each.unit);
}
