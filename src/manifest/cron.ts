import type { CronSpec } from '../model/app-spec.ts';

const fields = [
  { name: 'minute', least: 0, most: 59 },
  // Hop3 takes 24 for an hour, as it takes 7 for a Sunday.
  { name: 'hour', least: 0, most: 24 },
  { name: 'day of the month', least: 1, most: 31 },
  { name: 'month', least: 1, most: 12 },
  { name: 'day of the week', least: 0, most: 7 },
];

export const cronHint = 'five fields and a command, as in "*/5 * * * * python batch.py"';

/** The five fields of a crontab line and its command: the schedule and the command, or what is wrong with the line. */
export function readCron(line: string): { cron: CronSpec; problem: null } | { cron: null; problem: string } {
  const match = /^((?:\S+\s+){4}\S+)\s+(\S.*)$/s.exec(line.trim());
  const [, written = '', command = ''] = match ?? [];
  if (match === null) return { cron: null, problem: 'is not a schedule and a command' };
  const parts = written.split(/\s+/);
  for (const [i, field] of fields.entries()) {
    const part = parts[i] ?? '';
    const problem = fieldProblem(part, field.least, field.most);
    if (problem !== null) return { cron: null, problem: `${field.name} "${part}" ${problem}` };
  }
  return { cron: { schedule: parts.join(' '), command }, problem: null };
}

function fieldProblem(text: string, least: number, most: number): string | null {
  for (const part of text.split(',')) {
    const match = /^(?:\*|(\d{1,4})(?:-(\d{1,4}))?)(?:\/(\d{1,4}))?$/.exec(part);
    if (match === null) return 'is not *, a number, a range, a list or a step';
    const from = Number(match[1] ?? least);
    const to = Number(match[2] ?? from);
    const step = Number(match[3] ?? 1);
    if (from < least || Math.max(from, to, step) > most) return `is out of range: ${least} to ${most}`;
    if (step === 0) return 'has a step of 0';
    if (from > to) return 'is a range that ends before it begins';
  }
  return null;
}
