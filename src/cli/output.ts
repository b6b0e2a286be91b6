import colors from 'picocolors';
import type { CliIo } from './io.ts';
import { tableText } from './table.ts';
import { durationText } from './words.ts';

export type Paint = ReturnType<typeof colors.createColors>;

/**
 * Where a command's answer goes. With `--json` the answer is JSON on stdout (a stream: one object a line) and
 * nothing else is; otherwise it is text. What is only said on the way goes to stderr.
 */
export class Output {
  readonly json: boolean;
  /** Colours, or functions that change nothing. */
  readonly paint: Paint;
  readonly io: CliIo;

  constructor(io: CliIo, options: { json: boolean; color: boolean }) {
    this.io = io;
    this.json = options.json;
    this.paint = colors.createColors(
      options.color && io.isTty && !io.env['NO_COLOR'] && io.env['TERM'] !== 'dumb',
    );
  }

  /** The whole answer: as JSON, or else as the text that `words` makes. */
  answer(value: unknown, words: () => string): void {
    if (this.json) this.io.stdout.write(JSON.stringify(value, null, 2) + '\n');
    else this.io.stdout.write(words());
  }

  /** One item of a stream. */
  item(value: unknown, words: () => string): void {
    this.io.stdout.write((this.json ? JSON.stringify(value) : words()) + '\n');
  }

  /** What is being done; not part of the answer. */
  note(text: string): void {
    if (!this.json) this.io.stderr.write(text + '\n');
  }

  table(headings: string[], rows: string[][]): string {
    return tableText(
      headings.map(heading => this.paint.dim(heading)),
      rows,
    );
  }

  /** How long ago for a person; the timestamp itself for whoever reads the output by program. */
  when(timestamp: string): string {
    if (!this.io.isTty) return timestamp;
    const ago = this.io.now() - Date.parse(timestamp);
    return Number.isNaN(ago) ? timestamp : `${durationText(ago)} ago`;
  }

  /** One of the words that states and outcomes are told in, coloured by whether it is good. */
  state(word: string): string {
    return this.paint[colorOf[word] ?? 'reset'](word);
  }
}

const colorOf: Record<string, 'green' | 'yellow' | 'red'> = {
  Active: 'green',
  Assigned: 'green',
  Ready: 'green',
  running: 'green',
  kept: 'green',
  repaired: 'green',
  ok: 'green',
  completed: 'green',
  Inactive: 'yellow',
  Pending: 'yellow',
  Progressing: 'yellow',
  Removing: 'yellow',
  pending: 'yellow',
  starting: 'yellow',
  standby: 'yellow',
  stopping: 'yellow',
  unplaced: 'yellow',
  unassessed: 'yellow',
  indeterminate: 'yellow',
  warn: 'yellow',
  'retry wait': 'yellow',
  cancelled: 'yellow',
  skipped: 'yellow',
  compensating: 'yellow',
  compensated: 'yellow',
  ConnectionLost: 'red',
  Degraded: 'red',
  unhealthy: 'red',
  backoff: 'red',
  failed: 'red',
  'timed out': 'red',
  'compensation failed': 'red',
  unknown: 'red',
  broken: 'red',
  fail: 'red',
};
