/**
 * Calendar days, counted from 1 January 1970, in the proleptic Gregorian calendar (Howard Hinnant, "chrono-compatible
 * low-level date algorithms").
 */
export interface CivilDay {
  year: number;
  /** 1 to 12. */
  month: number;
  /** 1 to 31. */
  day: number;
}

export const DAY_MS = 86_400_000;

export function dayNumber({ year, month, day }: CivilDay): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}

export function civilDay(number: number): CivilDay {
  const shifted = number + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const month = shiftedMonth + (shiftedMonth < 10 ? 3 : -9);
  return {
    year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0),
    month,
    day: dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1,
  };
}

/** 0 = Sunday. */
export function weekday(number: number): number {
  return (((number + 4) % 7) + 7) % 7;
}

/** A Unix time out of RFC 3339 in UTC, as clocks here write it. @throws RangeError when it is not that */
export function unixMs(timestamp: string): number {
  const match = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,3})\d*)?Z$/.exec(timestamp);
  if (match === null) throw new RangeError(`"${timestamp}" is not a time as in 2026-01-01T00:00:00.000Z`);
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1, 7).map(Number);
  const timeMs = ((hour * 60 + minute) * 60 + second) * 1000;
  return dayNumber({ year, month, day }) * DAY_MS + timeMs + Number((match[7] ?? '0').padEnd(3, '0'));
}

/** The same in the other direction. */
export function timestampOf(unix: number): string {
  const day = Math.floor(unix / DAY_MS);
  const ms = unix - day * DAY_MS;
  const civil = civilDay(day);
  const two = (number: number): string => String(Math.floor(number)).padStart(2, '0');
  const date = `${String(civil.year).padStart(4, '0')}-${two(civil.month)}-${two(civil.day)}`;
  const time = `${two(ms / 3_600_000)}:${two((ms / 60_000) % 60)}:${two((ms / 1000) % 60)}`;
  return `${date}T${time}.${String(ms % 1000).padStart(3, '0')}Z`;
}
