import type { Clock } from '../ports/clock.ts';
import type { OutputLine, OutputOptions } from '../ports/driver.ts';
import {
  readFrom,
  readTail,
  STREAMS,
  textOfLine,
  unitsWithOutput,
  type OutputFiles,
  type Tail,
} from './output-files.ts';

const POLL_MS = 200;
const CHUNK_BYTES = 256 * 1024;
/** A line longer than this is given out in pieces. */
const LONGEST_LINE_BYTES = 64 * 1024;
const LONGEST_LAST_LINE = 500;

type StreamLine = Omit<OutputLine, 'unit'>;

export interface Following {
  clock: Clock;
  /** Whether the unit may still write: until then an unfinished line is held back. */
  isLive(unit: string): boolean;
  /** Called before a file is truncated, so that a follower reads to its end first. Returns how to stop. */
  onTruncation(listener: (file: string) => void): () => void;
}

/** The end of both streams together, for a person who wants to know why a unit ended. */
export function lastOutput(files: OutputFiles, count: number): string[] {
  return newestLines(files, count, { partial: true }).lines.map(({ text }) =>
    text.slice(0, LONGEST_LAST_LINE),
  );
}

/**
 * What all copies of an instance wrote, copy by copy in the order of their starting. Within the past of one copy the
 * streams are not interleaved, since the files carry no times: each gets its share of the lines, and the one
 * written to last comes last. What is followed comes in the order in which it is seen, every 200 ms.
 */
export async function* readOutput(
  directory: string,
  options: OutputOptions,
  following: Following,
): AsyncGenerator<OutputLine> {
  const cursors = new Map<string, Cursor>();
  const past = pastLines(directory, options, cursors, following);
  if (!options.follow) {
    yield* past;
    return;
  }
  // What is read just before a truncation waits here for its turn.
  const waiting: OutputLine[] = [];
  const stop = following.onTruncation(file => {
    const cursor = cursors.get(file);
    if (cursor === undefined) return;
    for (let line = cursor.next(); line.length > 0; line = cursor.next()) waiting.push(...line);
    cursor.restart();
  });
  try {
    yield* past;
    while (!options.signal.aborted) {
      yield* waiting.splice(0);
      let quiet = true;
      for (const { unit, files } of unitsWithOutput(directory)) {
        const live = following.isLive(unit);
        for (const { stream, key } of STREAMS) {
          const cursor = cursors.get(files[key]) ?? new Cursor(unit, stream, files[key], 0);
          cursors.set(files[key], cursor);
          const lines = cursor.next();
          if (lines.length > 0) quiet = false;
          else if (!live) lines.push(...cursor.flush());
          yield* lines;
        }
      }
      if (quiet) await following.clock.sleep(POLL_MS, options.signal);
    }
  } finally {
    stop();
  }
}

/** Leaves a cursor at the end of what it returned for each file. */
function pastLines(
  directory: string,
  options: OutputOptions,
  cursors: Map<string, Cursor>,
  following: Following,
): OutputLine[] {
  const lines: OutputLine[] = [];
  for (const { unit, files } of unitsWithOutput(directory).reverse()) {
    const wanted = options.lines - lines.length;
    const partial = !options.follow || !following.isLive(unit);
    const newest = newestLines(files, wanted, { partial });
    lines.unshift(...newest.lines.map(line => ({ unit, ...line })));
    for (const { stream, key } of STREAMS) {
      const { completeTo, end } = newest.tails[key];
      cursors.set(files[key], new Cursor(unit, stream, files[key], partial ? end : completeTo));
    }
  }
  return lines;
}

function newestLines(
  files: OutputFiles,
  count: number,
  options: { partial: boolean },
): { lines: StreamLine[]; tails: { out: Tail; err: Tail } } {
  const out = readTail(files.out, count, options);
  const err = readTail(files.err, count, options);
  const forErr = Math.min(err.lines.length, Math.max(Math.ceil(count / 2), count - out.lines.length));
  const forOut = Math.min(out.lines.length, count - forErr);
  const parts: StreamLine[][] = [
    last(out.lines, forOut).map(text => ({ stream: 'stdout', text })),
    last(err.lines, forErr).map(text => ({ stream: 'stderr', text })),
  ];
  if (out.writtenMs > err.writtenMs) parts.reverse();
  return { lines: parts.flat(), tails: { out, err } };
}

function last<T>(items: T[], count: number): T[] {
  return count === 0 ? [] : items.slice(-count);
}

/** Where a follower is in one file. */
class Cursor {
  private readonly unit: string;
  private readonly stream: OutputLine['stream'];
  private readonly file: string;
  private offset: number;
  /** The bytes of a line whose end has not come yet. */
  private unfinished: Buffer = Buffer.alloc(0);

  constructor(unit: string, stream: OutputLine['stream'], file: string, offset: number) {
    this.unit = unit;
    this.stream = stream;
    this.file = file;
    this.offset = offset;
  }

  /** More complete lines, none when nothing new is there. */
  next(): OutputLine[] {
    const lines: OutputLine[] = [];
    while (lines.length === 0) {
      const read = readFrom(this.file, this.offset, CHUNK_BYTES);
      if (read === null || read.bytes.length === 0) {
        // Somebody else truncated it: what is there now is new.
        if (read !== null && read.size < this.offset) this.offset = 0;
        else break;
        continue;
      }
      this.offset += read.bytes.length;
      this.take(Buffer.concat([this.unfinished, read.bytes]), lines);
    }
    return lines;
  }

  flush(): OutputLine[] {
    if (this.unfinished.length === 0) return [];
    const line = this.line(this.unfinished);
    this.unfinished = Buffer.alloc(0);
    return [line];
  }

  restart(): void {
    this.offset = 0;
  }

  private take(bytes: Buffer, lines: OutputLine[]): void {
    let start = 0;
    for (let end = bytes.indexOf(0x0a); end !== -1; end = bytes.indexOf(0x0a, start)) {
      lines.push(this.line(bytes.subarray(start, end)));
      start = end + 1;
    }
    this.unfinished = Buffer.from(bytes.subarray(start));
    if (this.unfinished.length > LONGEST_LINE_BYTES) lines.push(...this.flush());
  }

  private line(bytes: Buffer): OutputLine {
    return { unit: this.unit, stream: this.stream, text: textOfLine(bytes) };
  }
}
