import test from 'ava';
import fc from 'fast-check';
import { deadlineMs, marginMs, renewalMs } from '../../src/model/deadline.ts';

test('the margin is a quarter of the TTL, and at least half a second', t => {
  t.deepEqual([1, 2, 3, 10, 60].map(marginMs), [500, 500, 750, 2_500, 15_000]);
});

test('the deadline counts from the sending of the check', t => {
  t.is(deadlineMs(1_000, 10), 8_500);
});

test('the deadline is never later than the lease could end, and leaves room to renew several times', t => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 2, max: 3_600 }), (sentMs, ttlSeconds) => {
      t.true(deadlineMs(sentMs, ttlSeconds) <= sentMs + ttlSeconds * 1_000 - 500);
      t.true(deadlineMs(sentMs, ttlSeconds) - sentMs >= 3 * renewalMs(ttlSeconds));
    }),
  );
});

test('renewals come five times a TTL', t => t.is(renewalMs(10), 2_000));
