import { z } from 'zod';
import { readCron } from '../model/cron-expression.ts';
import { isTimeZone } from '../model/time-zone.ts';
import { shown } from './tree.ts';

/**
 * The smallest parts that both formats are made of. A description says what would be right: editors show it, and
 * every problem with the value gives it as its hint.
 */

const pattern = (regex: RegExp, what: string, description: string) =>
  z
    .string()
    .regex(regex, { error: issue => `${shown(issue.input)} is not ${what}` })
    .describe(description);

export const appNameRule = '3 to 63 lower-case letters, digits and hyphens, starting with a letter';
export const appName = pattern(/^[a-z][a-z0-9-]{1,61}[a-z0-9]$/, 'an app name', appNameRule);

export const envNamePattern = /^[A-Za-z_][A-Za-z0-9_]{0,63}$/;
export const envNameRule = 'up to 64 letters, digits and underscores, not starting with a digit';

/** Process names become keys of objects, where those that every object has would be found without being there. */
export const processNamePattern =
  /^(?!(?:constructor|hasOwnProperty|isPrototypeOf|propertyIsEnumerable|toLocaleString|toString|valueOf)$)[A-Za-z][A-Za-z0-9_-]{0,62}$/;
export const processName = pattern(
  processNamePattern,
  'a process name',
  'up to 63 letters, digits, hyphens and underscores, starting with a letter',
);

const label = '[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?';
export const hostname = pattern(
  new RegExp(`^(?=.{1,253}$)(${label}(\\.${label})*|_)$`),
  'a host name',
  'letters, digits and hyphens between dots, as in www.example.com; or "_" alone for every other name',
);

/** `_` in HOST_NAME is what Hop3 has when there is no name at all. */
export function hostnamesIn(text: string): string[] {
  const names = text.toLowerCase().split(/[\s,]+/);
  return [...new Set(names.filter(name => name !== '' && name !== '_'))];
}

export const hostnamesHint = 'names with spaces between them, as in "example.com www.example.com"';

export function badHostnamesIn(text: string): string[] {
  return hostnamesIn(text).filter(name => !hostname.safeParse(name).success);
}

export const command = z
  .string()
  .regex(/\S/, { error: 'is an empty command' })
  .describe('a command line, run by /bin/sh');

export const commands = z
  .union([command, z.array(command).min(1)], { error: 'must be a command or a list of commands' })
  .describe('a command line, or a list of them');

export const relativeDirectory = pattern(
  /^(?!\/)(?!(.*\/)?\.\.(\/|$))[^\0]+$/,
  'a directory inside the app',
  'a path relative to the source, without ".."',
);

export const seconds = z.number().positive().max(86400).describe('seconds, as a number such as 30');

export const cronName = pattern(
  /^(?!constructor$)[a-z][a-z0-9_-]{0,62}$/,
  'the name of a scheduled command',
  'up to 63 lower-case letters, digits, hyphens and underscores, starting with a letter',
);

export const cronExpression = z
  .string()
  .superRefine((text, context) => {
    const reading = readCron(text);
    if (!reading.ok) context.addIssue({ code: 'custom', message: reading.message });
  })
  .describe('five fields, as in "30 4 * * mon-fri", or @daily');

export const timeZone = z
  .string()
  .refine(isTimeZone, { error: issue => `there is no time zone ${shown(issue.input)}` })
  .describe('an IANA name, as in Europe/Berlin');

export const urlPath = pattern(/^\/[!-~]*$/, 'a path', 'the path of a URL, percent-encoded, as in /health');

export const memory = z
  .union([
    z.string().regex(/^\d{1,12}[KMGkmg]?$/, {
      error: issue => `${shown(issue.input)} is not an amount of memory`,
    }),
    z.int().positive(),
  ])
  .describe('bytes, or a number with K, M or G, as in 256M');

/** K, M and G are powers of 1024, as for Docker and systemd. */
export function bytesOf(amount: string | number): number {
  if (typeof amount === 'number') return amount;
  const factor = { K: 1024, M: 1024 ** 2, G: 1024 ** 3 }[amount.slice(-1).toUpperCase()];
  return factor === undefined ? Number(amount) : Number(amount.slice(0, -1)) * factor;
}

/** The shortest text that `bytesOf` reads back as the same number. */
export function memoryText(bytes: number): string {
  for (const [suffix, factor] of [
    ['G', 1024 ** 3],
    ['M', 1024 ** 2],
    ['K', 1024],
  ] as const) {
    if (bytes > 0 && bytes % factor === 0) return `${bytes / factor}${suffix}`;
  }
  return String(bytes);
}
