import type { Clock } from '../ports/clock.ts';
import type { OutputLine, OutputOptions } from '../ports/driver.ts';

/** The newest lines of one instance, in memory. */
export interface RequestJournal {
  add(unit: string, text: string): void;
  last(count: number): string[];
  read(options: OutputOptions): AsyncGenerator<OutputLine>;
}

const LINES_KEPT = 1000;
const POLL_MS = 200;
const RADIX = 36;

export function requestJournal(clock: Clock): RequestJournal {
  let lines: OutputLine[] = [];
  /** How many lines were dropped before the first of `lines`. */
  let dropped = 0;
  /** Told apart from those of earlier agents, whose lines are gone. */
  const made = Date.parse(clock.timestamp()).toString(RADIX);
  const cursorAt = (count: number): string => `${made}.${count.toString(RADIX)}`;

  /** How many lines were added before the one to go on with. */
  function placeAfter(cursor: string): number {
    const [of, count = ''] = cursor.split('.');
    const place = of === made ? parseInt(count, RADIX) : 0;
    return place >= 0 && place <= dropped + lines.length ? place : 0;
  }

  return {
    add(unit, text) {
      lines.push({ unit, stream: 'stdout', text });
      if (lines.length < 2 * LINES_KEPT) return;
      lines = lines.slice(-LINES_KEPT);
      dropped += LINES_KEPT;
    },
    last: count => (count === 0 ? [] : lines.slice(-count).map(({ text }) => text)),
    async *read({ lines: count, follow, signal, after, onStart }) {
      let next = after === undefined ? dropped + Math.max(0, lines.length - count) : placeAfter(after);
      onStart?.(cursorAt(next));
      do {
        const first = Math.max(next, dropped);
        const fresh = lines.slice(first - dropped);
        next = first + fresh.length;
        for (const [index, line] of fresh.entries()) yield { ...line, cursor: cursorAt(first + index + 1) };
        if (follow) await clock.sleep(POLL_MS, signal);
      } while (follow && !signal.aborted);
    },
  };
}
