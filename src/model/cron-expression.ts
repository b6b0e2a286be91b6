import { civilDay, weekday } from './civil.ts';

/** A read cron expression. */
export interface CronFields {
  /** Minutes of a day, ascending. */
  times: readonly number[];
  runsOn: (dayNumber: number) => boolean;
}

export type CronReading = { ok: true; fields: CronFields } | { ok: false; message: string; hint: string };

const macros: Readonly<Record<string, string>> = {
  '@hourly': '0 * * * *',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@weekly': '0 0 * * 0',
  '@monthly': '0 0 1 * *',
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
};

interface Field {
  name: string;
  least: number;
  most: number;
  names: readonly string[];
}

const fields: readonly Field[] = [
  { name: 'minute', least: 0, most: 59, names: [] },
  { name: 'hour', least: 0, most: 23, names: [] },
  { name: 'day of the month', least: 1, most: 31, names: [] },
  {
    name: 'month',
    least: 1,
    most: 12,
    names: ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'],
  },
  { name: 'day of the week', least: 0, most: 7, names: ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] },
];

const longestMonths = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/**
 * Five fields: minute, hour, day of the month, month, day of the week (0 and 7 are Sunday); lists, ranges, steps and English
 * names; or a macro such as `@daily`. As in every cron since Vixie's, a day is meant when *either* day field names it, unless
 * one of the two begins with `*`: then both must.
 */
export function readCron(expression: string): CronReading {
  const text = macros[expression.trim().toLowerCase()] ?? expression.trim();
  const parts = text === '' ? [] : text.split(/\s+/);
  if (parts.length !== fields.length) {
    const hint = 'minute, hour, day of the month, month, day of the week, as in "30 4 * * mon-fri"';
    return { ok: false, message: `has ${parts.length} fields instead of 5`, hint };
  }
  const sets: Set<number>[] = [];
  for (const [place, field] of fields.entries()) {
    const set = readField(field, parts[place] ?? '');
    if (typeof set === 'string') return { ok: false, message: set, hint: hintOf(field) };
    sets.push(set);
  }
  const none = new Set<number>();
  const [minutes = none, hours = none, days = none, months = none, weekdays = none] = sets;
  if (weekdays.has(7)) weekdays.add(0);
  const both = parts[2]?.startsWith('*') === true || parts[4]?.startsWith('*') === true;
  if (both && ![...months].some(month => [...days].some(day => day <= (longestMonths[month - 1] ?? 0)))) {
    return {
      ok: false,
      message: 'never comes: none of its months has such a day',
      hint: 'another day, or month',
    };
  }
  return {
    ok: true,
    fields: {
      times: [...hours].flatMap(hour => [...minutes].map(minute => hour * 60 + minute)).sort((a, b) => a - b),
      runsOn: number => {
        const { month, day } = civilDay(number);
        const [onDay, onWeekday] = [days.has(day), weekdays.has(weekday(number))];
        return months.has(month) && (both ? onDay && onWeekday : onDay || onWeekday);
      },
    },
  };
}

/** The values of one field, or what is wrong with it. */
function readField(field: Field, text: string): Set<number> | string {
  const values = new Set<number>();
  for (const item of text.split(',')) {
    const match = /^(\*|([0-9a-z]+)(-([0-9a-z]+))?)(\/(\d+))?$/i.exec(item);
    if (!match) return `the ${field.name} "${text}" can't be read`;
    const [, range, from = '', , to, , every] = match;
    const step = every === undefined ? 1 : Number(every);
    if (step === 0) return `the ${field.name} "${text}" goes in steps of 0`;
    const low = range === '*' ? field.least : valueOf(field, from);
    // `5/10` is understood as `5-59/10`, as everywhere.
    const single = every === undefined ? low : field.most;
    const high = range === '*' ? field.most : to === undefined ? single : valueOf(field, to);
    if (low === null || high === null) return `the ${field.name} "${text}" is not from ${rangeText(field)}`;
    if (low > high) return `the ${field.name} "${text}" goes backwards`;
    for (let value = low; value <= high; value += step) values.add(value);
  }
  return values;
}

function valueOf(field: Field, text: string): number | null {
  const named = field.names.indexOf(text.toLowerCase());
  if (named !== -1) return named + field.least;
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  return value >= field.least && value <= field.most ? value : null;
}

function hintOf(field: Field): string {
  return `${rangeText(field)}; * or lists, ranges and steps of them, as in "1,10-20/2"`;
}

function rangeText(field: Field): string {
  const names = field.names.length > 0 ? `, or ${field.names.join(' ')}` : '';
  return `${field.least} to ${field.most}${names}`;
}
