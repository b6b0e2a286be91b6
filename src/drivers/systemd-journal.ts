import { spawn } from 'node:child_process';
import { once } from 'node:events';

import { isAborted } from '../ports/clock.ts';
import type { OutputLine } from '../ports/driver.ts';
import { runTool } from './systemd-tools.ts';

/** One line in the journal. */
export interface JournalEntry {
  identifier: string;
  stream: OutputLine['stream'];
  text: string;
  /** In the letters that a line's cursor may have. */
  cursor: string;
}

/** Which lines are meant: of any of the identifiers, and written by this user, since anybody may use any identifier. */
export interface JournalMatch {
  uid: number;
  identifiers: readonly string[];
}

/** By `systemd-cat`, which gives the two streams the only mark that the journal keeps of a line apart from its identifier. */
const STDERR_PRIORITY = '3';
const FIELDS = '--output-fields=MESSAGE,PRIORITY,SYSLOG_IDENTIFIER';
/** `SD_MESSAGE_SPAWN_FAILED` (sd-messages.h), which systemd says of whatever it could not do before a command. */
const SPAWN_FAILED = '641257651c1b4ec9a8624d7a40a9e1e7';
const CURSOR = /^s_[0-9a-f]+(\.[a-z]_[0-9a-f]+)+$/;

/** A command whose streams go to the journal under an identifier. Nothing in its environment tells of the journal. */
export function journaled(identifier: string, command: string): string[] {
  return [
    ...['/usr/bin/systemd-cat', `--identifier=${identifier}`, '--level-prefix=false'],
    ...['--priority=info', '--stderr-priority=err'],
    ...['/bin/sh', '-c', 'unset JOURNAL_STREAM; exec /bin/sh -c "$1"', 'hop3', command],
  ];
}

/** All that were ever used, as far as the journal goes back. @throws ToolError */
export async function identifiersInJournal(): Promise<string[]> {
  return (await runTool('journalctl', ['--quiet', '--field=SYSLOG_IDENTIFIER'])).split('\n');
}

/** Resolves when everything written so far can be read. @throws ToolError, also when the signal aborts */
export async function syncJournal(signal: AbortSignal): Promise<void> {
  await runTool('journalctl', ['--sync'], { signal });
}

/** Whether systemd has said of this run of a unit that it could not begin its command. @throws ToolError */
export async function saysItCouldNotSpawn(service: string, invocation: string): Promise<boolean> {
  await runTool('journalctl', ['--sync']);
  const matches = [`MESSAGE_ID=${SPAWN_FAILED}`, `UNIT=${service}`, `INVOCATION_ID=${invocation}`];
  return (await runTool('journalctl', ['--quiet', '--output=cat', '--', ...matches])) !== '';
}

/** The newest lines, oldest first; those read so far when the signal aborts. @throws ToolError when the journal can't be read */
export async function newestEntries(
  match: JournalMatch,
  { count, signal }: { count: number; signal: AbortSignal },
): Promise<JournalEntry[]> {
  const entries: JournalEntry[] = [];
  for await (const entry of journalEntries([`--lines=${count}`], match, signal)) entries.push(entry);
  return entries;
}

/** What comes after a cursor ('' = all), oldest first; with `follow` until the signal aborts. */
export async function* entriesAfter(
  cursor: string,
  match: JournalMatch,
  options: { follow: boolean; signal: AbortSignal },
): AsyncGenerator<JournalEntry> {
  const from = journalCursor(cursor);
  const args = [
    '--lines=all',
    ...(options.follow ? ['--follow', '--no-tail'] : []),
    // Not `--after-cursor`, which drops the next line when the one it names is gone or of another identifier.
    ...(from === null ? [] : [`--cursor=${from}`]),
  ];
  for await (const entry of journalEntries(args, match, options.signal)) {
    if (entry.cursor !== cursor) yield entry;
  }
}

export function entryIn(json: string): JournalEntry {
  const fields = JSON.parse(json) as Record<string, unknown>;
  return {
    identifier: textOf(fields['SYSLOG_IDENTIFIER']),
    stream: textOf(fields['PRIORITY']) === STDERR_PRIORITY ? 'stderr' : 'stdout',
    text: textOf(fields['MESSAGE']),
    cursor: textOf(fields['__CURSOR']).replaceAll('=', '_').replaceAll(';', '.'),
  };
}

/** null when it is none of the journal's: then nothing is known of what was read before. */
function journalCursor(cursor: string): string | null {
  return CURSOR.test(cursor) ? cursor.replaceAll('.', ';').replaceAll('_', '=') : null;
}

async function* journalEntries(
  args: readonly string[],
  { uid, identifiers }: JournalMatch,
  signal: AbortSignal,
): AsyncGenerator<JournalEntry> {
  if (signal.aborted) return;
  const matches = [`_UID=${uid}`, ...identifiers.map(identifier => `SYSLOG_IDENTIFIER=${identifier}`)];
  const child = spawn(
    'journalctl',
    ['--quiet', '--output=json', '--all', FIELDS, ...args, '--', ...matches],
    {
      env: { PATH: '/usr/bin:/bin', LC_ALL: 'C.UTF-8' },
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  );
  const ended = once(child, 'close');
  // Told by whoever awaits it; without a reader of the output nobody would.
  ended.catch(() => undefined);
  // Where no descriptor is left there are no pipes either.
  if (child.pid === undefined) await ended;
  const end = (): void => void child.kill('SIGKILL');
  signal.addEventListener('abort', end, { once: true });
  try {
    let rest = '';
    child.stdout.setEncoding('utf8');
    for await (const chunk of child.stdout as AsyncIterable<string>) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        if (isAborted(signal)) return;
        yield entryIn(line);
      }
    }
    await ended;
  } finally {
    signal.removeEventListener('abort', end);
    end();
  }
}

/** What is not plain text comes as its bytes. */
function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  return Array.isArray(value) ? Buffer.from(value as number[]).toString() : '';
}
