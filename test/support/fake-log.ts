import type { Log, LogFields } from '../../src/ports/log.ts';

export interface LogLine {
  level: 'debug' | 'info' | 'warn' | 'error';
  message: string;
  fields: LogFields;
}

/** Keeps every line, its children's too, with the fields of all its parents. */
export class FakeLog implements Log {
  readonly lines: LogLine[];
  private readonly context: LogFields;

  constructor(lines: LogLine[] = [], context: LogFields = {}) {
    this.lines = lines;
    this.context = context;
  }

  debug(message: string, fields?: LogFields): void {
    this.add('debug', message, fields);
  }

  info(message: string, fields?: LogFields): void {
    this.add('info', message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    this.add('warn', message, fields);
  }

  error(message: string, fields?: LogFields): void {
    this.add('error', message, fields);
  }

  child(fields: LogFields): Log {
    return new FakeLog(this.lines, { ...this.context, ...fields });
  }

  /** The lines whose message or fields contain the text. */
  matching(text: string): LogLine[] {
    return this.lines.filter(line => `${line.message} ${render(line.fields)}`.includes(text));
  }

  private add(level: LogLine['level'], message: string, fields: LogFields = {}): void {
    this.lines.push({ level, message, fields: { ...this.context, ...fields } });
  }
}

function render(fields: LogFields): string {
  return JSON.stringify(fields, (_key, value: unknown) =>
    typeof value === 'bigint' ? String(value) : value instanceof Error ? value.message : value,
  );
}
