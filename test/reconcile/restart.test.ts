import test from 'ava';
import fc from 'fast-check';
import type { RestartPolicy } from '../../src/model/app-spec.ts';
import type { StartHistory } from '../../src/model/reconciliation.ts';
import { backoffMs, startAgain } from '../../src/reconcile/restart.ts';
import { processSpec } from '../support/nouns.ts';

const always: RestartPolicy = { policy: 'always', max: 5 };
const history = (parts: Partial<StartHistory>): StartHistory => ({
  instance: 'blog/web/0',
  version: '1',
  failures: 0,
  lastFailureMs: null,
  lastTrouble: null,
  everReady: false,
  ...parts,
});

test('backoff: at once, then 1 s, doubling, at most 5 minutes', t => {
  t.deepEqual(
    [0, 1, 2, 3, 4, 10, 11, 50].map(backoffMs),
    [0, 0, 1_000, 2_000, 4_000, 256_000, 300_000, 300_000],
  );
});

test('one failure before max is tried again, at max it is given up', t => {
  const failed = (failures: number) =>
    startAgain(history({ failures, lastFailureMs: 0, lastTrouble: 'boom' }), always, processSpec(), 1e6);
  t.is(failed(4).kind, 'now');
  t.deepEqual(failed(5), { kind: 'never', trouble: 'given up after 5 failed starts in a row: boom' });
});

test('what this node could not even try to start is never given up, and waits like everything else', t => {
  const failed = history({ failures: 7, lastFailureMs: 0, lastTrouble: 'the disk is full', passing: true });
  t.is(startAgain(failed, always, processSpec(), 1).kind, 'wait');
  t.is(startAgain(failed, always, processSpec(), 1e6).kind, 'now');
});

test('with a max of 0 the first failure is the last', t => {
  const restart = { policy: 'always' as const, max: 0 };
  t.is(startAgain(history({}), restart, processSpec(), 0).kind, 'now');
  t.is(startAgain(history({ failures: 1, lastFailureMs: 0 }), restart, processSpec(), 9).kind, 'never');
});

test('what it says while it waits does not change with time', t => {
  const failed = history({ failures: 4, lastFailureMs: 1_000, lastTrouble: 'boom', everReady: true });
  const wait = startAgain(failed, always, processSpec(), 1_001);
  t.deepEqual(wait, {
    kind: 'wait',
    untilMs: 5_000,
    trouble: '4 failures in a row, waiting 4 s before the next start: boom',
  });
  t.deepEqual(startAgain(failed, always, processSpec(), 4_999), wait);
  t.is(startAgain(failed, always, processSpec(), 5_000).kind, 'now');
});

test('a wait is never longer than the backoff, and always ends', t => {
  fc.assert(
    fc.property(fc.nat({ max: 60 }), fc.integer(), fc.integer(), (failures, lastFailureMs, nowMs) => {
      const failed = history({ failures, lastFailureMs, everReady: true });
      const again = startAgain(failed, always, processSpec(), nowMs);
      t.not(again.kind, 'never');
      if (again.kind === 'wait') {
        t.true(again.untilMs > nowMs && again.untilMs - nowMs <= backoffMs(failures));
        t.is(startAgain(failed, always, processSpec(), again.untilMs).kind, 'now');
      }
    }),
  );
});
