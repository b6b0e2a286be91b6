import type { Problem } from '../model/problem.ts';
import { declare, type Declared, type Entry } from './processes.ts';
import { tooLarge } from './size.ts';

interface ProcfileEntry extends Entry {
  line: number;
}

/**
 * A Procfile as Hop3 reads it: one `kind: command` a line, `#` starts a comment line, the last of several lines of
 * one kind counts. `declared` holds what could be understood, however many problems there are. Never throws.
 */
export function readProcfile(file: string, text: string): { declared: Declared; problems: Problem[] } {
  const large = tooLarge(file, text);
  const entries = new Map<string, ProcfileEntry>();
  const problems: Problem[] = [...large];
  const lines = large.length > 0 ? [] : text.replace(/^\uFEFF/, '').split(/\r\n|\r|\n/);
  for (const [index, raw] of lines.entries()) {
    const written = raw.trim();
    if (written === '' || written.startsWith('#')) continue;
    const line = index + 1;
    const colon = written.indexOf(':');
    if (colon < 0) {
      const column = raw.length - raw.trimStart().length + 1;
      const hint = 'one "kind: command" a line, as in "web: node server.js"';
      problems.push({ file, line, column, field: '', message: 'has no colon', hint });
      continue;
    }
    const kind = written.slice(0, colon).trim();
    entries.set(kind, { kind, command: written.slice(colon + 1).trim(), line });
  }
  const { declared, problems: wrong } = declare([...entries.values()]);
  problems.push(
    ...wrong.map(({ entry, message, hint }) => ({
      file,
      line: entry.line,
      column: 1,
      field: entry.kind,
      message,
      hint,
    })),
  );
  return { declared, problems };
}
