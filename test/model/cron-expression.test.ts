import test from 'ava';
import { dayNumber } from '../../src/model/civil.ts';
import { readCron } from '../../src/model/cron-expression.ts';

const fieldsOf = (expression: string) => {
  const reading = readCron(expression);
  if (!reading.ok) throw new Error(reading.message);
  return reading.fields;
};

for (const [expression, times] of [
  ['30 4 * * *', ['4:30']],
  ['@daily', ['0:00']],
  ['0,30 1-2 * * *', ['1:00', '1:30', '2:00', '2:30']],
  ['*/20 23 * * *', ['23:00', '23:20', '23:40']],
  ['50/5 0 * * *', ['0:50', '0:55']],
] as const) {
  test(`${expression} is at ${times.join(', ')}`, t => {
    const clock = (minute: number) => `${Math.floor(minute / 60)}:${String(minute % 60).padStart(2, '0')}`;
    t.deepEqual(fieldsOf(expression).times.map(clock), [...times]);
  });
}

// 13 March 2026 is a Friday.
for (const [expression, is13th, is14th, is20th] of [
  ['0 0 13 * *', true, false, false],
  ['0 0 * * fri', true, false, true],
  ['0 0 13 * 6', true, true, false],
  ['0 0 */13 * fri', false, false, false],
  ['0 0 * feb,mar 7', false, false, false],
] as const) {
  test(`which days ${expression} means`, t => {
    const { runsOn } = fieldsOf(expression);
    const runs = [13, 14, 20].map(day => runsOn(dayNumber({ year: 2026, month: 3, day })));
    t.deepEqual(runs, [is13th, is14th, is20th]);
  });
}

for (const expression of [
  '',
  '* * * *',
  '60 * * * *',
  '* 24 * * *',
  '5-1 * * * *',
  '*/0 * * * *',
  '0 0 30 2 *',
  '@often',
]) {
  test(`"${expression}" is refused with what would be right`, t => {
    const reading = readCron(expression);
    t.false(reading.ok);
    if (!reading.ok) t.regex(reading.hint, /\w/);
  });
}
