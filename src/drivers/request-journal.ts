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

export function requestJournal(clock: Clock): RequestJournal {
  let lines: OutputLine[] = [];
  /** How many lines were dropped before the first of `lines`. */
  let dropped = 0;

  return {
    add(unit, text) {
      lines.push({ unit, stream: 'stdout', text });
      if (lines.length < 2 * LINES_KEPT) return;
      lines = lines.slice(-LINES_KEPT);
      dropped += LINES_KEPT;
    },
    last: count => (count === 0 ? [] : lines.slice(-count).map(({ text }) => text)),
    async *read({ lines: count, follow, signal }) {
      let next = dropped + Math.max(0, lines.length - count);
      do {
        const fresh = lines.slice(Math.max(0, next - dropped));
        next = dropped + lines.length;
        yield* fresh;
        if (follow) await clock.sleep(POLL_MS, signal);
      } while (follow && !signal.aborted);
    },
  };
}
