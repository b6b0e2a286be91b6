import { DAY_MS, dayNumber } from './civil.ts';

/** A wall clock somewhere: local times are milliseconds as if the wall clock showed UTC. */
export interface ZoneClock {
  /** What the wall clock shows at a moment. */
  localAt: (utcMs: number) => number;
  /** The moment at which a wall clock reads this; see `zoneClock` for times it never or twice reads. */
  momentsOf: (dayNumber: number, minutes: readonly number[]) => number[];
}

/** Wider than any change of the clock, and than any distance from UTC. */
const AROUND_MS = 40 * 3_600_000;

/**
 * The clock of an IANA time zone. A local time that a change of the clock leaves out stands for the first moment after the
 * change; one that comes twice stands for its first. Two changes within four days of each other are not told apart.
 * @throws RangeError when there is no such zone
 */
export function zoneClock(timeZone: string): ZoneClock {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    calendar: 'gregory',
    numberingSystem: 'latn',
    hourCycle: 'h23',
    era: 'short',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  });
  const localAt = (utcMs: number): number => {
    const parts = new Map(format.formatToParts(utcMs).map(({ type, value }) => [type, value]));
    const part = (type: Intl.DateTimeFormatPartTypes): number => Number(parts.get(type));
    const year = parts.get('era') === 'BC' ? 1 - part('year') : part('year');
    const day = dayNumber({ year, month: part('month'), day: part('day') });
    const seconds = (part('hour') * 60 + part('minute')) * 60 + part('second');
    return day * DAY_MS + seconds * 1000 + (((utcMs % 1000) + 1000) % 1000);
  };
  const offsetAt = (utcMs: number): number => localAt(utcMs) - utcMs;

  const momentOf = (localMs: number, beforeMs: number, afterMs: number): number => {
    const earlier = localMs - Math.max(beforeMs, afterMs);
    const later = localMs - Math.min(beforeMs, afterMs);
    if (localAt(earlier) === localMs) return earlier;
    return localAt(later) === localMs ? later : changeBetween(earlier, later, afterMs);
  };

  /** The first moment after `fromMs` at which the clock has its new distance from UTC; at `toMs` it has. */
  const changeBetween = (fromMs: number, toMs: number, newOffsetMs: number): number => {
    let low = Math.floor(fromMs / 1000);
    let high = Math.ceil(toMs / 1000);
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (offsetAt(middle * 1000) === newOffsetMs) high = middle;
      else low = middle;
    }
    return high * 1000;
  };

  const momentsOf = (day: number, minutes: readonly number[]): number[] => {
    const beforeMs = offsetAt(day * DAY_MS - AROUND_MS);
    const afterMs = offsetAt((day + 1) * DAY_MS + AROUND_MS);
    return minutes.map(minute => {
      const localMs = day * DAY_MS + minute * 60_000;
      return beforeMs === afterMs ? localMs - beforeMs : momentOf(localMs, beforeMs, afterMs);
    });
  };
  return { localAt, momentsOf };
}

export function isTimeZone(name: string): boolean {
  try {
    zoneClock(name);
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}
