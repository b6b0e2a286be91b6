import test from 'ava';
import fc from 'fast-check';
import { civilDay, DAY_MS, dayNumber, timestampOf, unixMs, weekday } from '../../src/model/civil.ts';

/** Of the years 1 to 9999, which a timestamp can be of. */
const day = fc.integer({ min: -719_162, max: 2_932_896 });

test('days are those that everybody counts, and come back as they were', t => {
  fc.assert(
    fc.property(day, number => {
      const date = new Date(number * DAY_MS);
      const civil = civilDay(number);
      t.deepEqual(civil, {
        year: date.getUTCFullYear(),
        month: date.getUTCMonth() + 1,
        day: date.getUTCDate(),
      });
      t.is(weekday(number), date.getUTCDay());
      t.is(dayNumber(civil), number);
    }),
  );
});

test('a moment is written as every clock writes it, and read again', t => {
  const moment = fc.tuple(day, fc.integer({ min: 0, max: DAY_MS - 1 }));
  fc.assert(
    fc.property(moment, ([number, ms]) => {
      const unix = number * DAY_MS + ms;
      t.is(timestampOf(unix), new Date(unix).toISOString());
      t.is(unixMs(timestampOf(unix)), unix);
    }),
  );
});

for (const text of ['', '2026-01-01', '2026-01-01T00:00:00+01:00', '2026-1-1T00:00:00Z']) {
  test(`"${text}" is not a moment as clocks here write it`, t => {
    t.throws(() => unixMs(text), { instanceOf: RangeError });
  });
}
