import test from 'ava';
import fc from 'fast-check';
import { marginMs, renewalMs } from '../../src/model/deadline.ts';
import { neededTtlMs, notAdmitted } from '../../src/ownership/admission.ts';

test('rule 7: the default lease leaves room for the default stop timeout of exclusive processes', t => {
  t.is(notAdmitted(10, 2), null);
  t.is(neededTtlMs(10, 2), 9500);
});

test('rule 7: a refusal names the numbers, and a TTL that works', t => {
  t.is(
    notAdmitted(5, 2),
    'an exclusive process must be dead before the lease of its node ends: stop-timeout 2 s + margin 1.25 s + renewal ' +
      'interval 1 s + 3 s for an etcd election = 7.25 s is more than the lease TTL of 5 s; a lease-ttl of 10 s works, or a ' +
      'shorter stop-timeout',
  );
});

test('rule 7: one missed renewal and an election fit between the last proof and the moment stopping begins', t => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 600 }), fc.integer({ min: 0, max: 300 }), (ttl, stop) => {
      if (notAdmitted(ttl, stop) !== null) return;
      const stoppingBeginsMs = ttl * 1000 - marginMs(ttl) - stop * 1000;
      t.true(stoppingBeginsMs >= renewalMs(ttl) + 3000);
    }),
  );
});

test('rule 7: the TTL that is named is admitted, and no shorter one', t => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 60 }), fc.integer({ min: 0, max: 120 }), (ttl, stop) => {
      const named = /lease-ttl of (\d+) s/.exec(notAdmitted(ttl, stop) ?? '')?.[1];
      if (named === undefined) return;
      t.is(notAdmitted(Number(named), stop), null);
      t.not(notAdmitted(Number(named) - 1, stop), null);
    }),
  );
});
