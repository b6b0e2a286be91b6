import test from 'ava';
import { isTimeZone, zoneClock } from '../../src/model/time-zone.ts';

for (const [name, is] of [
  ['UTC', true],
  ['Europe/Berlin', true],
  ['Mars/Base', false],
  ['CET-1', false],
  ['', false],
] as const) {
  test(`"${name}" is ${is ? 'a' : 'no'} time zone`, t => t.is(isTimeZone(name), is));
}

const day = Date.UTC(2026, 2, 29) / 86_400_000;
for (const [title, minutes, moment] of [
  ['before the clock goes forward', 90, Date.UTC(2026, 2, 29, 0, 30)],
  ['that it leaves out, and so the first after', 150, Date.UTC(2026, 2, 29, 1, 0)],
  ['after it went forward', 210, Date.UTC(2026, 2, 29, 1, 30)],
] as const) {
  test(`a time in Berlin ${title}`, t => {
    const clock = zoneClock('Europe/Berlin');
    t.deepEqual(clock.momentsOf(day, [minutes]), [moment]);
    if (minutes !== 150) t.is(clock.localAt(moment), day * 86_400_000 + minutes * 60_000);
  });
}

test('a time that comes twice in Berlin is its first', t => {
  const autumn = Date.UTC(2026, 9, 25) / 86_400_000;
  t.deepEqual(zoneClock('Europe/Berlin').momentsOf(autumn, [150]), [Date.UTC(2026, 9, 25, 0, 30)]);
});
