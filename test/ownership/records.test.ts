import test from 'ava';
import fc from 'fast-check';
import type { OwnerRecord } from '../../src/model/records.ts';
import {
  confirmedStopped,
  handedOverRecord,
  releasedRecord,
  takenRecord,
} from '../../src/ownership/records.ts';

const taker = (node: string) => ({
  subject: 'instance/blog/web/0',
  node,
  incarnation: 'i',
  ttlSeconds: 10,
  holder: 'agent',
  operation: `op-${node}`,
  exclusive: false,
  tokenBase: '0',
});

test('the first to take it owes nothing to anybody', t => {
  t.deepEqual(takenRecord(null, taker('node-1'), true), {
    v: 1,
    ...taker('node-1'),
    mayStillRun: [],
    released: null,
    token: null,
  });
});

test('a former owner that did not stop it is remembered', t => {
  const one = takenRecord(null, taker('node-1'), false);
  t.deepEqual(takenRecord(one, taker('node-2'), true).mayStillRun, ['node-1']);
  t.deepEqual(takenRecord(one, taker('node-2'), false).mayStillRun, []);
});

test('a former owner that released it is not', t => {
  const released = releasedRecord(takenRecord(null, taker('node-1'), false), '5', 'now', 'scaled down');
  t.deepEqual(takenRecord(released, taker('node-2'), true).mayStillRun, []);
});

test('the taker itself is never in the list', t => {
  const two = takenRecord(takenRecord(null, taker('node-1'), false), taker('node-2'), true);
  t.deepEqual(takenRecord(two, taker('node-1'), true).mayStillRun, ['node-2']);
});

test('a record that is taken anew has the token of that write', t => {
  const stopped = confirmedStopped(takenRecord(null, taker('node-1'), false), '5', 'node-3');
  t.is(stopped.token, '5');
  t.is(takenRecord(stopped, taker('node-2'), true).token, null);
});

test('fields it does not know are kept', t => {
  const later = { ...takenRecord(null, taker('node-1'), false), tint: 'blue' };
  t.is((takenRecord(later, taker('node-2'), true) as OwnerRecord & { tint?: string }).tint, 'blue');
  t.is((releasedRecord(later, '5', 'now', 'why') as OwnerRecord & { tint?: string }).tint, 'blue');
});

test('a release keeps the token and who else may still run it', t => {
  const two = takenRecord(takenRecord(null, taker('node-1'), false), taker('node-2'), true);
  const released = releasedRecord(two, '9', '2026-01-01T00:00:00Z', 'scaled down');
  t.is(released.token, '9');
  t.deepEqual(released.released, { at: '2026-01-01T00:00:00Z', reason: 'scaled down' });
  t.deepEqual(released.mayStillRun, ['node-1']);
});

test('nobody leaves the list but by its own confirmed stop, or by owning it', t => {
  const nodes = ['node-1', 'node-2', 'node-3'];
  const move = fc.record({
    kind: fc.constantFrom('take' as const, 'release' as const, 'confirm' as const),
    node: fc.constantFrom(...nodes),
  });
  fc.assert(
    fc.property(fc.array(move, { maxLength: 30 }), moves => {
      let record: OwnerRecord | null = null;
      const running = new Set<string>();
      for (const { kind, node } of moves) {
        if (kind === 'take') {
          record = takenRecord(record, taker(node), true);
          running.add(node);
        } else if (record && kind === 'release' && record.released === null) {
          running.delete(record.node);
          record = releasedRecord(record, '1', 'now', 'why');
        } else if (record && kind === 'confirm' && (record.node !== node || record.released !== null)) {
          running.delete(node);
          record = confirmedStopped(record, '1', node);
        }
        if (!record) continue;
        const known = new Set([...record.mayStillRun, ...(record.released ? [] : [record.node])]);
        t.deepEqual([...known].sort(), [...running].sort());
      }
    }),
  );
});

test('what is handed over is free, and may run on where it is until that node confirms its stop', t => {
  const owner = { ...takenRecord(null, taker('node-1'), false), mayStillRun: ['node-9'] };
  const handed = handedOverRecord(owner, '41', '2026-01-01T00:00:00.000Z', 'a drain');
  t.like(handed, { token: '41', released: { at: '2026-01-01T00:00:00.000Z', reason: 'a drain' } });
  t.deepEqual(handed.mayStillRun, ['node-9', owner.node]);
  const next = takenRecord(handed, taker('node-3'), false);
  t.deepEqual(next.mayStillRun, ['node-9', owner.node]);
  t.deepEqual(confirmedStopped(next, '42', owner.node).mayStillRun, ['node-9']);
});

test('rule 5: what must never run twice is not handed over alive', t => {
  const owner = takenRecord(null, { ...taker('node-1'), exclusive: true }, false);
  t.throws(() => handedOverRecord(owner, '41', '2026-01-01T00:00:00.000Z', 'a drain'), {
    message: /is exclusive/,
  });
});
