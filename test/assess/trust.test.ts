import test from 'ava';
import fc from 'fast-check';
import type { Outcome } from '../../src/model/node-promise.ts';
import { probeIntervalMs, trustAfter, trustOf } from '../../src/assess/trust.ts';
import { assessment } from '../support/nouns.ts';

const outcome = fc.constantFrom<Outcome>('kept', 'broken', 'repaired', 'indeterminate');

test('a broken promise costs, a kept one wins back, recent ones count more', t => {
  t.is(trustAfter(1, 'kept'), 1);
  t.is(trustAfter(1, 'broken'), 0.7);
  const earlyBreak = (['broken', 'kept', 'kept'] as const).reduce(trustAfter, 1);
  const lateBreak = (['kept', 'kept', 'broken'] as const).reduce(trustAfter, 1);
  t.true(earlyBreak > lateBreak);
});

test('what could not be determined changes no trust', t => t.is(trustAfter(0.4, 'indeterminate'), 0.4));

test('trust always stays between 0 and 1', t => {
  fc.assert(
    fc.property(fc.array(outcome), outcomes => {
      const trust = outcomes.reduce(trustAfter, 1);
      t.true(trust >= 0 && trust <= 1);
    }),
  );
});

test('a node that nobody has judged is trusted', t => {
  t.is(trustOf('node-1', []), 1);
  t.is(trustOf('node-1', [assessment('node-2', 'broken', { promiser: 'node-3', trust: 0.1 })]), 1);
  t.is(trustOf('node-1', [assessment('node-2', 'indeterminate', { trust: 0.1 })]), 1);
});

test('the trust in a node is the mean over those who have judged it', t => {
  const assessments = [
    assessment('node-2', 'kept', { trust: 1 }),
    assessment('node-3', 'broken', { trust: 0.5 }),
    assessment('node-4', 'indeterminate', { trust: 0 }),
  ];
  t.is(trustOf('node-1', assessments), 0.75);
});

test('the less a node is trusted, the sooner it is checked again, down to half the time', t => {
  t.is(probeIntervalMs(5_000, 1, 0.5), 5_000);
  t.is(probeIntervalMs(5_000, 0.5, 0.5), 3_750);
  t.is(probeIntervalMs(5_000, 0, 0.5), 2_500);
});

test('chance moves a check by at most a fifth', t => {
  t.is(probeIntervalMs(5_000, 1, 0), 4_000);
  t.is(probeIntervalMs(5_000, 1, 1), 6_000);
});
