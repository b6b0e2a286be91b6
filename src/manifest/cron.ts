import type { AppSpec, CronSpec } from '../model/app-spec.ts';
import { readCron } from '../model/cron-expression.ts';
import type { AppManifest } from './app-manifest.ts';
import { defaults } from './defaults.ts';

/** One line of a crontab. */
export interface CronLine {
  expression: string;
  command: string;
}

type CronTable = NonNullable<AppManifest['crons']>[string];

const hint = 'five fields and a command, as in "*/5 * * * * python batch.py"';

/** The schedule and the command of a line, or what is wrong with it. */
export function readCronLine(
  line: string,
): { cron: CronLine; problem: null } | { cron: null; problem: string; hint: string } {
  const match = /^(@\S+|(?:\S+\s+){4}\S+)\s+(\S.*)$/s.exec(line.trim());
  const [, written = '', command = ''] = match ?? [];
  if (match === null) return { cron: null, problem: 'is not a schedule and a command', hint };
  const expression = written
    .split(/\s+/)
    .map((field, place) => (place === 1 ? midnightAsZero(field) : field))
    .join(' ');
  const reading = readCron(expression);
  if (!reading.ok) return { cron: null, problem: reading.message, hint: reading.hint };
  return { cron: { expression, command }, problem: null };
}

/** What a line means besides what it says. */
export function cronOfLine(name: string, { expression, command }: CronLine, timeZone: string): CronSpec {
  const { overlap, timeoutSeconds, attempts } = defaults.cron;
  const schedule = { expression, timeZone, overlap, catchUp: { kind: 'latest' as const } };
  return { name, command, schedule, timeoutSeconds, attempts };
}

export function cronOfTable(name: string, table: CronTable, timeZone: string): CronSpec {
  const catchUp = table['catch-up'] ?? 'latest';
  return {
    name,
    command: table.command,
    schedule: {
      expression: table.schedule,
      timeZone: table['time-zone'] ?? timeZone,
      overlap: table.overlap ?? defaults.cron.overlap,
      catchUp: typeof catchUp === 'string' ? { kind: catchUp } : { kind: 'all', atMost: catchUp.all },
    },
    timeoutSeconds: table.timeout ?? defaults.cron.timeoutSeconds,
    attempts: table.attempts ?? defaults.cron.attempts,
  };
}

/** The inverse of `cronOfTable`. */
export function cronTable(cron: CronSpec, timeZone: string): Record<string, unknown> {
  const { expression, overlap, catchUp } = cron.schedule;
  return {
    schedule: expression,
    command: cron.command,
    'time-zone': unless(timeZone, cron.schedule.timeZone),
    overlap: unless(defaults.cron.overlap, overlap),
    'catch-up': catchUp.kind === 'all' ? { all: catchUp.atMost } : unless('latest', catchUp.kind),
    timeout: unless(defaults.cron.timeoutSeconds, cron.timeoutSeconds),
    attempts: unless(defaults.cron.attempts, cron.attempts),
  };
}

/** Where its commands see the time, an app means its schedules as well. */
export function timeZoneOf(env: AppSpec['env']): string {
  const zone = env['TZ'];
  return zone?.kind === 'literal' ? zone.value : 'UTC';
}

/** Hop3 takes 24 for an hour, as it takes 7 for a Sunday. */
function midnightAsZero(hours: string): string {
  const items = hours.split(',').map(item => {
    const match = /^(?:(\d+)-)?24(?:\/(\d+))?$/.exec(item);
    if (match === null) return item;
    const [, from, every = '1'] = match;
    if (from === undefined) return '0';
    const isHit = (24 - Number(from)) % Number(every) === 0;
    return `${from}-23/${every}${isHit ? ',0' : ''}`;
  });
  return items.join(',');
}

function unless<T>(usual: T, value: T): T | undefined {
  return value === usual ? undefined : value;
}
