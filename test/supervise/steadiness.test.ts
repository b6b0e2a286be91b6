import test from 'ava';
import fc from 'fast-check';
import { holdDownMs, unsteadiness, went } from '../../src/supervise/steadiness.ts';

const rows: [string, number[], number, boolean][] = [
  ['never gone', [], 100_000, true],
  ['one loss is no flapping', [0], 1_000, true],
  ['twice within a minute', [0, 10_000], 11_000, false],
  ['twice within a minute, and there for almost as long', [0, 10_000], 69_999, false],
  ['twice within a minute, and there for a minute since', [0, 10_000], 70_000, true],
  ['two losses a minute apart', [0, 60_000], 61_000, true],
];
for (const [title, wentMs, nowMs, steady] of rows) {
  test(`${title}: ${steady ? 'steady' : 'not steady'}`, t => {
    t.is(unsteadiness(wentMs, nowMs) === null, steady);
  });
}

test('the words say how often it went, and what it takes', t => {
  t.is(
    unsteadiness([0, 5_000], 9_000),
    'comes and goes: it went twice within 5 s, the last time 4 s ago; it has to be there for 60 s',
  );
});

test('what goes every few seconds is unsteady from its second loss until a minute after its last', t => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: holdDownMs - 1 }), { minLength: 1, maxLength: 20 }),
      gaps => {
        let nowMs = 0;
        let moments = went([], nowMs);
        for (const gapMs of gaps) {
          nowMs += gapMs;
          moments = went(moments, nowMs);
          t.not(unsteadiness(moments, nowMs + holdDownMs - 1), null);
        }
        t.is(unsteadiness(moments, nowMs + holdDownMs), null);
      },
    ),
  );
});
