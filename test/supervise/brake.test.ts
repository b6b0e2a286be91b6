import test from 'ava';
import { brake } from '../../src/supervise/brake.ts';

const rows: [string, number, number, boolean][] = [
  ['nobody went', 3, 0, false],
  ['one of two is no crowd', 2, 1, false],
  ['two of three are a crowd', 3, 2, true],
  ['exactly the share is not more than it', 5, 2, false],
  ['three of five are a crowd', 5, 3, true],
  ['all went', 4, 4, true],
];
for (const [title, known, gone, active] of rows) {
  test(title, t => t.is(brake({ known, gone }).active, active));
}

test('the reason says how many, and the rate', t => {
  const { reason, intervalMs } = brake({ known: 5, gone: 3 });
  t.is(intervalMs, 2000);
  t.is(reason, '3 of 5 nodes vanished together (more than 40 %): at most 30 takeovers a minute');
});

test('a brake that is off holds nothing up', t => {
  t.deepEqual(brake({ known: 5, gone: 2 }), { active: false, reason: null, intervalMs: 0 });
});
