import test from 'ava';
import fc from 'fast-check';
import type { CatchUp, CronSchedule } from '../../src/model/plan.ts';
import {
  atOverlap,
  checkCron,
  dueFirings,
  firingKey,
  lastFirings,
  nextFirings,
} from '../../src/workflow/cron.ts';

const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;

const at = (text: string): number => Date.parse(text);
const iso = (moments: number[]): string[] => moments.map(ms => new Date(ms).toISOString().slice(0, 16) + 'Z');
const day = (zone: string, schedule: string, from: string, days = 1): string[] =>
  iso(nextFirings(schedule, zone, at(from) - 1, at(from) + days * dayMs - 1));

const rows: [string, string[], string[]][] = [
  [
    'every quarter',
    day('UTC', '*/15 5 * * *', '2026-01-01T00:00Z'),
    ['05:00', '05:15', '05:30', '05:45'].map(onJan1),
  ],
  [
    'a step from a start',
    day('UTC', '50/4 5 * * *', '2026-01-01T00:00Z'),
    ['05:50', '05:54', '05:58'].map(onJan1),
  ],
  [
    'lists, ranges and names',
    day('UTC', '0 12 * Jan,MAR mon-wed', '2026-01-01T00:00Z', 8),
    ['2026-01-05T12:00Z', '2026-01-06T12:00Z', '2026-01-07T12:00Z'],
  ],
  ['7 is Sunday, too', day('UTC', '0 0 * * 7', '2026-01-01T00:00Z', 7), ['2026-01-04T00:00Z']],
  [
    'either day, when both are named',
    day('UTC', '0 0 2 * fri', '2026-01-01T00:00Z', 12),
    ['2026-01-02T00:00Z', '2026-01-09T00:00Z'],
  ],
  [
    'both days, when one begins with a star',
    day('UTC', '0 0 */2 * sat', '2026-01-01T00:00Z', 20),
    ['2026-01-03T00:00Z', '2026-01-17T00:00Z'],
  ],
  ['the leap day', day('UTC', '0 0 29 2 *', '2026-01-01T00:00Z', 2_000), ['2028-02-29T00:00Z']],
  [
    'the last day of a year in local time',
    day('Asia/Tokyo', '@yearly', '2025-12-31T00:00Z'),
    ['2025-12-31T15:00Z'],
  ],
  [
    'Berlin: half past two does not exist on the day the clock goes forward',
    day('Europe/Berlin', '30 2 * * *', '2026-03-28T00:00Z', 3),
    ['2026-03-28T01:30Z', '2026-03-29T01:00Z', '2026-03-30T00:30Z'],
  ],
  [
    'Berlin: all of the hour that does not exist is one firing',
    day('Europe/Berlin', '*/20 2-3 * * *', '2026-03-29T00:00Z'),
    ['2026-03-29T01:00Z', '2026-03-29T01:20Z', '2026-03-29T01:40Z'],
  ],
  [
    'Berlin: half past two exists twice on the day it goes back',
    day('Europe/Berlin', '30 2 * * *', '2026-10-24T00:00Z', 3),
    ['2026-10-24T00:30Z', '2026-10-25T00:30Z', '2026-10-26T01:30Z'],
  ],
  [
    'New York: forward',
    day('America/New_York', '15 2 * * *', '2026-03-08T00:00Z', 2),
    ['2026-03-08T07:00Z', '2026-03-09T06:15Z'],
  ],
  [
    'Lord Howe: half an hour forward',
    day('Australia/Lord_Howe', '10 2 * * *', '2026-10-03T00:00Z'),
    ['2026-10-03T15:30Z'],
  ],
  [
    'Lord Howe: half an hour back',
    day('Australia/Lord_Howe', '45 1 * * *', '2026-04-04T00:00Z'),
    ['2026-04-04T14:45Z'],
  ],
  [
    'Beirut: a midnight that does not exist',
    day('Asia/Beirut', '@daily', '2026-03-28T12:00Z'),
    ['2026-03-28T22:00Z'],
  ],
  [
    'Apia: a whole day that does not exist',
    day('Pacific/Apia', '0 12 * * *', '2011-12-29T00:00Z', 2),
    ['2011-12-29T22:00Z', '2011-12-30T10:00Z', '2011-12-30T22:00Z'],
  ],
];
for (const [what, found, expected] of rows) {
  test(`a schedule fires: ${what}`, t => {
    t.deepEqual(found, expected);
  });
}

function onJan1(time: string): string {
  return `2026-01-01T${time}Z`;
}

test('after is without, until is with', t => {
  t.deepEqual(iso(nextFirings('0 * * * *', 'UTC', at('2026-01-01T00:00Z'), at('2026-01-01T02:00Z'))), [
    '2026-01-01T01:00Z',
    '2026-01-01T02:00Z',
  ]);
  t.deepEqual(nextFirings('0 * * * *', 'UTC', at('2026-01-01T02:00Z'), at('2026-01-01T02:00Z')), []);
});

test('the first, or the last, of very many are found without going through them all', t => {
  const [after, until] = [at('1980-01-01T00:00Z'), at('2080-01-01T00:00Z')];
  t.deepEqual(iso(nextFirings('* * * * *', 'Europe/Berlin', after, until, 2)), [
    '1980-01-01T00:01Z',
    '1980-01-01T00:02Z',
  ]);
  t.deepEqual(iso(lastFirings('* * * * *', 'Europe/Berlin', after, until, 2)), [
    '2079-12-31T23:59Z',
    '2080-01-01T00:00Z',
  ]);
});

interface Part {
  text: string;
  has: (value: number) => boolean;
}
const star: Part = { text: '*', has: () => true };
const partOf = (least: number, most: number): fc.Arbitrary<Part> =>
  fc.oneof<fc.Arbitrary<Part>[]>(
    fc.constant(star),
    fc.integer({ min: 2, max: 15 }).map(n => ({ text: `*/${n}`, has: value => (value - least) % n === 0 })),
    fc
      .uniqueArray(fc.integer({ min: least, max: most }), { minLength: 1, maxLength: 3 })
      .map(all => ({ text: all.join(','), has: value => all.includes(value) })),
    fc
      .tuple(fc.integer({ min: least, max: most }), fc.integer({ min: least, max: most }))
      .map(ends => ends.sort((a, b) => a - b))
      .map(([low, high]) => ({
        text: `${low}-${high}`,
        has: value => value >= low && value <= high,
      })),
  );

const from = at('2024-01-01T00:00Z');
const until = at('2027-01-01T00:00Z');

/** By the half hour: the clocks of these zones change on no other moments. */
function offsetsOf(timeZone: string): number[] {
  const format = new Intl.DateTimeFormat('en-US', { timeZone, timeZoneName: 'longOffset' });
  const offsets: number[] = [];
  for (let ms = from - 30 * minuteMs; ms <= until; ms += 30 * minuteMs) {
    const name = format.formatToParts(ms).find(({ type }) => type === 'timeZoneName')?.value ?? '';
    const [, sign = '+', hours = '0', minutes = '0'] = /GMT([+-])(\d+):(\d+)/.exec(name) ?? [];
    offsets.push((sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes)));
  }
  return offsets;
}

/** Minute by minute, as somebody with a wall clock and a list of what he has done already. */
function oracle(offsets: number[], matches: (localMinute: number) => boolean): number[] {
  const fired: number[] = [];
  const localAt = (utc: number): number =>
    utc + (offsets[Math.floor((utc - from / minuteMs + 30) / 30)] ?? 0);
  let reached = localAt(from / minuteMs - 1);
  for (let utc = from / minuteMs; utc <= until / minuteMs; utc++) {
    const local = localAt(utc);
    let fires = false;
    for (let passed = reached + 1; passed <= local; passed++) fires ||= matches(passed);
    reached = Math.max(reached, local);
    if (fires) fired.push(utc * minuteMs);
  }
  return fired;
}

for (const zone of ['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe']) {
  test(`${zone}: over three years, a schedule fires when somebody who watches the clock would`, t => {
    const offsets = offsetsOf(zone);
    t.true(new Set(offsets).size > 1, 'its clock changes');
    fc.assert(
      fc.property(
        partOf(0, 59),
        fc.oneof(partOf(0, 23), partOf(0, 3)),
        partOf(1, 28),
        partOf(1, 12),
        partOf(0, 6),
        (minute, hour, ofMonth, month, ofWeek) => {
          const parts = [minute, hour, ofMonth, month, ofWeek];
          const both = ofMonth.text.startsWith('*') || ofWeek.text.startsWith('*');
          const days = new Map<number, boolean>();
          const runsOn = (number: number): boolean => {
            const date = new Date(number * dayMs);
            const [a, b] = [ofMonth.has(date.getUTCDate()), ofWeek.has(date.getUTCDay())];
            return month.has(date.getUTCMonth() + 1) && (both ? a && b : a || b);
          };
          const matches = (local: number): boolean => {
            if (!minute.has(local % 60) || !hour.has(Math.floor(local / 60) % 24)) return false;
            const number = Math.floor(local / 1440);
            let runs = days.get(number);
            if (runs === undefined) days.set(number, (runs = runsOn(number)));
            return runs;
          };
          const expected = oracle(offsets, matches);
          const text = parts.map(part => part.text).join(' ');
          if (expected.length === 0) return;
          const found = nextFirings(text, zone, from - 1, until);
          const wrong = expected.findIndex((ms, place) => found[place] !== ms);
          t.is(wrong, -1, `${text}: ${iso(expected.slice(wrong, wrong + 1)).join('')}`);
          t.is(found.length, expected.length, text);
          const backwards = lastFirings(text, zone, from - 1, until, 50);
          t.deepEqual(backwards, expected.slice(-50), text);
        },
      ),
      { numRuns: 40 },
    );
  });
}

const schedule = (more: Partial<CronSchedule>): CronSchedule => ({
  expression: '@daily',
  timeZone: 'UTC',
  overlap: 'allow',
  catchUp: { kind: 'none' },
  ...more,
});
const wrong: [string, Partial<CronSchedule>, string[]][] = [
  ['nothing', {}, []],
  ['too few fields', { expression: '* * * *' }, ['expression: has 4 fields instead of 5']],
  ['no fields', { expression: ' ' }, ['expression: has 0 fields instead of 5']],
  ['no minute', { expression: '60 * * * *' }, ['expression: the minute "60" is not from 0 to 59']],
  [
    'no month',
    { expression: '0 0 1 foo *' },
    ['expression: the month "foo" is not from 1 to 12, or jan feb mar apr may jun jul aug sep oct nov dec'],
  ],
  [
    'a range backwards',
    { expression: '0 0 * * fri-mon' },
    ['expression: the day of the week "fri-mon" goes backwards'],
  ],
  ['no steps', { expression: '*/0 * * * *' }, ['expression: the minute "*/0" goes in steps of 0']],
  ['an empty item', { expression: '1,,2 * * * *' }, ['expression: the minute "1,,2" can\'t be read']],
  [
    'a day that never comes',
    { expression: '0 0 30 2 *' },
    ['expression: never comes: none of its months has such a day'],
  ],
  ['a day that comes by its name', { expression: '0 0 30 2 mon' }, []],
  ['an unknown macro', { expression: '@often' }, ['expression: has 1 fields instead of 5']],
  ['an unknown zone', { timeZone: 'Mars/Base' }, ['timeZone: there is no time zone "Mars/Base"']],
  [
    'too many to catch up',
    { catchUp: { kind: 'all', atMost: 101 } },
    ['catchUp.atMost: must be a whole number from 1 to 100, not 101'],
  ],
];
for (const [what, more, expected] of wrong) {
  test(`what is wrong with a schedule: ${what}`, t => {
    t.deepEqual(
      checkCron(schedule(more)).map(({ field, message }) => `${field}: ${message}`),
      expected,
    );
  });
}

test('a schedule that cannot be read never fires: it throws', t => {
  t.throws(() => nextFirings('* *', 'UTC', 0, 1), { instanceOf: RangeError, message: /has 2 fields/ });
  t.throws(() => nextFirings('@daily', 'Mars/Base', 0, 1), { instanceOf: RangeError });
});

const lastMs = at('2026-01-01T00:00Z');
const catchUps: [string, CatchUp, string, string[]][] = [
  ['on time', { kind: 'none' }, '2026-01-01T01:00:02Z', ['01:00']],
  ['not yet', { kind: 'latest' }, '2026-01-01T00:59:59Z', []],
  ['none of what was missed', { kind: 'none' }, '2026-01-01T03:30Z', []],
  ['only what is on time, of three', { kind: 'none' }, '2026-01-01T03:00Z', ['03:00']],
  ['the latest of three', { kind: 'latest' }, '2026-01-01T03:30Z', ['03:00']],
  ['the latest of three, which is on time', { kind: 'latest' }, '2026-01-01T03:00:09Z', ['03:00']],
  ['all of three', { kind: 'all', atMost: 5 }, '2026-01-01T03:30Z', ['01:00', '02:00', '03:00']],
  ['two of three, one of them on time', { kind: 'all', atMost: 2 }, '2026-01-01T03:00Z', ['02:00', '03:00']],
  ['nothing again: the clock went back', { kind: 'all', atMost: 5 }, '2025-12-31T20:00Z', []],
];
for (const [what, catchUp, now, expected] of catchUps) {
  test(`catching up: ${what}`, t => {
    const due = dueFirings(schedule({ expression: '@hourly', catchUp }), lastMs, at(now), 10_000);
    t.deepEqual(iso(due.fire), expected.map(onJan1));
    t.is(due.upToMs, Math.max(lastMs, at(now)));
  });
}

test('however often one asks, and whoever does, all firings are made once when all are caught up', t => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 20 }), steps => {
      let [nowMs, doneMs] = [lastMs, lastMs];
      const made: number[] = [];
      for (const minutes of steps) {
        nowMs += minutes * minuteMs;
        const due = dueFirings(
          schedule({
            expression: '*/30 * * * *',
            timeZone: 'Europe/Berlin',
            catchUp: { kind: 'all', atMost: 100 },
          }),
          doneMs,
          nowMs,
          10_000,
        );
        made.push(...due.fire);
        doneMs = due.upToMs;
      }
      t.deepEqual(made, nextFirings('*/30 * * * *', 'Europe/Berlin', lastMs, nowMs));
    }),
    { numRuns: 50 },
  );
});

test('a firing that meets plans of the one before allows, forbids or replaces them', t => {
  t.like(atOverlap('forbid', []), { start: true, cancel: [] });
  t.like(atOverlap('allow', ['a', 'b']), { start: true, cancel: [] });
  t.deepEqual(atOverlap('forbid', ['a']), {
    start: false,
    cancel: [],
    reason: 'left out: a of this schedule has not ended',
  });
  t.like(atOverlap('replace', ['a', 'b']), { start: true, cancel: ['a', 'b'] });
});

test('a firing has one name wherever it is made', t => {
  t.is(firingKey('nightly', lastMs), 'cron/nightly/1767225600000');
});
