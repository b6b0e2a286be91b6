import type { Clock } from '../ports/clock.ts';
import type { OutputLine, OutputOptions } from '../ports/driver.ts';
import { STREAMS, unitsWithOutput, type OutputFiles } from './output-files.ts';
import { linesIn, readFrom, readTail, textOfLine, type Line, type Tail } from './output-pieces.ts';
import { OutputPlace, placesAfter, type UnitOutput } from './output-place.ts';

const POLL_MS = 200;
const CHUNK_BYTES = 256 * 1024;
/** A line longer than this is given out in pieces. */
const LONGEST_LINE_BYTES = 64 * 1024;
const LONGEST_LAST_LINE = 500;

type StreamLine = Line & { stream: OutputLine['stream']; file: string };

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
  const reading = new Reading(directory, options, following);
  const stop = options.follow ? following.onTruncation(file => reading.truncating(file)) : () => undefined;
  try {
    const start = reading.place();
    if (start !== null) options.onStart?.(start);
    yield* reading.past();
    while (options.follow && !options.signal.aborted) {
      let quiet = true;
      for (const line of reading.fresh()) {
        quiet = false;
        yield line;
      }
      if (quiet) await following.clock.sleep(POLL_MS, options.signal);
    }
  } finally {
    stop();
  }
}

/** One reader's way through the files of an instance. */
class Reading {
  private readonly directory: string;
  private readonly following: Following;
  private readonly follow: boolean;
  private readonly given = new OutputPlace();
  private readonly files = new Map<string, FileReading>();
  /** What is read just before a truncation waits here for its turn. */
  private readonly waiting: (StreamLine & { unit: string })[] = [];
  private units: readonly UnitOutput[];
  private tails: (StreamLine & { unit: string })[] = [];
  /** With `after` and without `follow`: where each file ended at the beginning. */
  private readonly ends = new Map<string, number>();

  constructor(directory: string, options: OutputOptions, following: Following) {
    this.directory = directory;
    this.following = following;
    this.follow = options.follow;
    this.units = unitsWithOutput(directory);
    if (options.after === undefined) this.beginWithNewest(options.lines);
    else this.beginAfter(options.after);
  }

  /** null when it can't be told. */
  place(): string | null {
    return this.given.text(this.units);
  }

  truncating(file: string): void {
    const reading = this.files.get(file);
    if (reading === undefined) return;
    const { unit } = reading;
    for (let lines = reading.next(); lines.length > 0; lines = reading.next()) {
      this.waiting.push(...lines.map(line => ({ ...line, unit })));
    }
  }

  *past(): Generator<OutputLine> {
    for (const { unit, ...line } of this.tails.splice(0)) yield this.give(unit, line);
    if (this.follow) return;
    for (const [file, end] of this.ends) {
      const reading = this.files.get(file);
      while (reading !== undefined && reading.position < end) {
        const lines = reading.next();
        for (const line of lines) yield this.give(reading.unit, line);
        if (lines.length === 0) break;
      }
      for (const line of reading?.flush() ?? []) yield this.give(reading?.unit ?? '', line);
    }
  }

  /** What is new in any file; nothing when there is nothing. */
  *fresh(): Generator<OutputLine> {
    for (const { unit, ...line } of this.waiting.splice(0)) yield this.give(unit, line);
    this.units = unitsWithOutput(this.directory);
    for (const { unit, files } of this.units) {
      const live = this.following.isLive(unit);
      for (const { stream, key } of STREAMS) {
        const reading = this.readingOf(unit, stream, files[key], 0);
        const lines = reading.next();
        if (lines.length === 0 && !live) {
          lines.push(...reading.flush());
          this.given.final(files[key], reading.position);
        }
        for (const line of lines) yield this.give(unit, line);
      }
    }
  }

  private beginWithNewest(count: number): void {
    for (const { unit, files } of [...this.units].reverse()) {
      const live = this.following.isLive(unit);
      const partial = !this.follow || !live;
      const newest = newestLines(files, count - this.tails.length, { partial });
      this.tails.unshift(...newest.lines.map(line => ({ ...line, unit })));
      for (const { stream, key } of STREAMS) {
        const { completeTo, end } = newest.tails[key];
        const settled = partial ? end : completeTo;
        this.readingOf(unit, stream, files[key], settled);
        this.given.given(files[key], newest.from[key]);
        if (!live) this.given.final(files[key], settled);
      }
    }
  }

  private beginAfter(cursor: string): void {
    const places = placesAfter(cursor, this.units);
    for (const { unit, files } of this.units) {
      for (const { stream, key } of STREAMS) {
        const file = files[key];
        const { end } = readTail(file, 0, { partial: true });
        const position = places.get(file) ?? end;
        this.readingOf(unit, stream, file, position);
        this.given.given(file, position);
        if (!this.following.isLive(unit)) this.given.final(file, end);
        if (!this.follow) this.ends.set(file, end);
      }
    }
  }

  private give(unit: string, { file, stream, text, end }: StreamLine): OutputLine {
    this.given.given(file, end);
    const cursor = this.place();
    return { unit, stream, text, ...(cursor !== null && { cursor }) };
  }

  private readingOf(unit: string, stream: OutputLine['stream'], file: string, position: number): FileReading {
    const known = this.files.get(file);
    if (known !== undefined) return known;
    const reading = new FileReading(unit, stream, file, position);
    this.files.set(file, reading);
    return reading;
  }
}

function newestLines(
  files: OutputFiles,
  count: number,
  options: { partial: boolean },
): { lines: StreamLine[]; tails: { out: Tail; err: Tail }; from: { out: number; err: number } } {
  const out = readTail(files.out, count, options);
  const err = readTail(files.err, count, options);
  const forErr = Math.min(err.lines.length, Math.max(Math.ceil(count / 2), count - out.lines.length));
  const forOut = Math.min(out.lines.length, count - forErr);
  const parts: StreamLine[][] = [
    last(out.lines, forOut).map(line => ({ ...line, stream: 'stdout', file: files.out })),
    last(err.lines, forErr).map(line => ({ ...line, stream: 'stderr', file: files.err })),
  ];
  if (out.writtenMs > err.writtenMs) parts.reverse();
  const from = { out: beginOf(out, forOut), err: beginOf(err, forErr) };
  return { lines: parts.flat(), tails: { out, err }, from };
}

/** The position where the newest `count` lines of a tail begin. */
function beginOf(tail: Tail, count: number): number {
  if (count === tail.lines.length) return tail.from;
  return tail.lines[tail.lines.length - count - 1]?.end ?? tail.from;
}

function last<T>(items: T[], count: number): T[] {
  return count === 0 ? [] : items.slice(-count);
}

/** Where a reader is in one stream of one unit. */
class FileReading {
  readonly unit: string;
  private readonly stream: OutputLine['stream'];
  private readonly file: string;
  /** Of the first byte that has not been read. */
  position: number;
  /** The bytes of a line whose end has not come yet. */
  private unfinished: Buffer = Buffer.alloc(0);

  constructor(unit: string, stream: OutputLine['stream'], file: string, position: number) {
    this.unit = unit;
    this.stream = stream;
    this.file = file;
    this.position = position;
  }

  /** More complete lines, none when nothing new is there. */
  next(): StreamLine[] {
    const lines: StreamLine[] = [];
    while (lines.length === 0) {
      const read = readFrom(this.file, this.position, CHUNK_BYTES);
      if (read === null) break;
      // Something is missing in between, so the line that had begun there will never be whole.
      if (read.position !== this.position) lines.push(...this.flush());
      this.position = read.position;
      if (read.bytes.length === 0) break;
      this.take(read.bytes, lines);
    }
    return lines;
  }

  flush(): StreamLine[] {
    if (this.unfinished.length === 0) return [];
    const line = this.line({ text: textOfLine(this.unfinished), end: this.position });
    this.unfinished = Buffer.alloc(0);
    return [line];
  }

  private take(bytes: Buffer, lines: StreamLine[]): void {
    const whole = Buffer.concat([this.unfinished, bytes]);
    const found = linesIn(whole, this.position - this.unfinished.length);
    this.position += bytes.length;
    lines.push(...found.lines.map(line => this.line(line)));
    this.unfinished = Buffer.from(found.rest);
    if (this.unfinished.length > LONGEST_LINE_BYTES) lines.push(...this.flush());
  }

  private line(line: Line): StreamLine {
    return { ...line, stream: this.stream, file: this.file };
  }
}
