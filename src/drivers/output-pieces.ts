import {
  closeSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';

/**
 * One stream of one unit as a single run of bytes, however it is cut into files: a position counts from the first byte ever
 * written to it, and means the same before and after a rotation. `x.out` is written to; `x.out.<end>` was rotated out of
 * it and ends at that position, so nothing but the names has to be remembered.
 */
interface Piece {
  path: string;
  /** Positions: of its first byte, and after its last. */
  start: number;
  end: number;
}

export interface RotationLimits {
  /** A file that is larger than this at a look is rotated, and so much again may have come by then: the rest is dropped. */
  bytes: number;
  /** How many files a stream of one unit has at most, the one written to included. */
  files: number;
}

const END_DIGITS = 15;
const SMALLEST_READ_BYTES = 16 * 1024;
const LARGEST_READ_BYTES = 16 * 1024 * 1024;

/**
 * Copies what has grown too large to a file of its own, and truncates it in place. What a process writes between the
 * copy and the truncation (microseconds) is lost: the price of processes that write by themselves.
 */
export function rotate(file: string, limits: RotationLimits, beforeTruncation: (file: string) => void): void {
  if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) <= limits.bytes) return;
  const descriptor = openIfThere(file, 'r+');
  if (descriptor === null) return;
  try {
    const before = rotatedFrom(file);
    beforeTruncation(file);
    const size = fstatSync(descriptor).size;
    const end = (before.at(-1)?.end ?? 0) + size;
    // A process that wrote far more than the limit between two looks keeps its newest part only.
    const kept = limits.files > 1 ? Math.min(size, 2 * limits.bytes) : 0;
    const copy = `${file}.${String(end).padStart(END_DIGITS, '0')}`;
    // Whole or not at all: where it begins is told by its size.
    writeFileSync(`${file}.new`, readRange(descriptor, size - kept, size), { mode: 0o600 });
    renameSync(`${file}.new`, copy);
    const spared = Math.max(0, limits.files - 2);
    for (const { path } of before.slice(0, before.length - spared)) rmSync(path, { force: true });
    ftruncateSync(descriptor, 0);
  } finally {
    closeSync(descriptor);
  }
}

/** The files of a stream, the one that is written to included. */
export function filesOf(file: string): string[] {
  return [...rotatedFrom(file).map(({ path }) => path), file];
}

export interface Line {
  text: string;
  /** The position after it, its line end included. */
  end: number;
}

export interface Tail {
  /** Oldest first. */
  lines: Line[];
  /** The position where the first of them begins, or where the next will. */
  from: number;
  /** Where the last complete line ends. */
  completeTo: number;
  /** Where the stream ended when it was read. */
  end: number;
  /** When it was last written to. */
  writtenMs: number;
}

/** The newest lines of one stream, looking into rotated files as far as needed and as nothing is missing between them. */
export function readTail(file: string, count: number, options: { partial: boolean }): Tail {
  const pieces = withoutGaps(piecesOf(file));
  const start = pieces[0]?.start ?? 0;
  const end = pieces.at(-1)?.end ?? 0;
  const writtenMs = statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  for (let length = SMALLEST_READ_BYTES; ; length *= 4) {
    const from = Math.max(start, end - length);
    const bytes = Buffer.concat(pieces.map(piece => readPiece(piece, from, end)));
    const { lines, rest } = linesIn(bytes, from);
    const completeTo = from + bytes.length - rest.length;
    // The first line of a window that does not start the stream may be cut.
    const cut = from > start ? lines.shift() : undefined;
    if (from > start && lines.length < count && length < LARGEST_READ_BYTES) continue;
    if (options.partial && rest.length > 0) lines.push({ text: textOfLine(rest), end });
    const wanted = count === 0 ? [] : lines.slice(-count);
    const before = lines.length === wanted.length ? cut : lines[lines.length - wanted.length - 1];
    const settled = options.partial ? end : completeTo;
    return {
      lines: wanted,
      from: wanted.length === 0 ? settled : (before?.end ?? from),
      completeTo,
      end,
      writtenMs,
    };
  }
}

export interface Read {
  bytes: Buffer;
  /** Of the first byte: further on than was asked for when what was there is not kept any more. */
  position: number;
  /** Where the stream ends now. */
  end: number;
}

/** At most `limit` bytes from a position on; null when there is no such stream. */
export function readFrom(file: string, position: number, limit: number): Read | null {
  const pieces = piecesOf(file);
  const newest = pieces.at(-1);
  if (newest === undefined) return null;
  const { end } = newest;
  // Somebody else truncated it: what is there now is new.
  const wanted = position > end ? newest.start : position;
  const piece = pieces.find(each => each.end > wanted);
  if (piece === undefined) return { bytes: Buffer.alloc(0), position: wanted, end };
  const from = Math.max(wanted, piece.start);
  return { bytes: readPiece(piece, from, from + limit), position: from, end };
}

export function textOfLine(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  return text.endsWith('\r') ? text.slice(0, -1) : text;
}

/** The complete lines among the bytes that begin at a position, and what is left of an unfinished one. */
export function linesIn(bytes: Buffer, position: number): { lines: Line[]; rest: Buffer } {
  const lines: Line[] = [];
  let start = 0;
  for (let end = bytes.indexOf(0x0a); end !== -1; end = bytes.indexOf(0x0a, start)) {
    lines.push({ text: textOfLine(bytes.subarray(start, end)), end: position + end + 1 });
    start = end + 1;
  }
  return { lines, rest: bytes.subarray(start) };
}

/** Oldest first; the one written to comes last. Empty when there is none. */
function piecesOf(file: string): Piece[] {
  const rotated = rotatedFrom(file);
  const size = statSync(file, { throwIfNoEntry: false })?.size;
  if (size === undefined) return [];
  const start = rotated.at(-1)?.end ?? 0;
  return [...rotated, { path: file, start, end: start + size }];
}

/** Oldest first. */
function rotatedFrom(file: string): Piece[] {
  const prefix = `${basename(file)}.`;
  return namesIn(dirname(file))
    .filter(name => name.startsWith(prefix) && isEnd(name.slice(prefix.length)))
    .sort()
    .flatMap(name => {
      const path = join(dirname(file), name);
      const size = statSync(path, { throwIfNoEntry: false })?.size;
      const end = Number(name.slice(prefix.length));
      return size === undefined ? [] : [{ path, start: end - size, end }];
    });
}

function isEnd(text: string): boolean {
  return text.length === END_DIGITS && /^\d+$/.test(text);
}

function withoutGaps(pieces: Piece[]): Piece[] {
  const gap = pieces.findLastIndex((piece, index) => index > 0 && pieces[index - 1]?.end !== piece.start);
  return gap === -1 ? pieces : pieces.slice(gap);
}

/** What of the piece lies between two positions. */
function readPiece({ path, start, end }: Piece, from: number, to: number): Buffer {
  if (from >= end || to <= start) return Buffer.alloc(0);
  const descriptor = openIfThere(path, 'r');
  if (descriptor === null) return Buffer.alloc(0);
  try {
    return readRange(descriptor, Math.max(0, from - start), Math.min(to, end) - start);
  } finally {
    closeSync(descriptor);
  }
}

function readRange(descriptor: number, from: number, to: number): Buffer {
  const buffer = Buffer.alloc(Math.max(0, to - from));
  let filled = 0;
  while (filled < buffer.length) {
    const length = readSync(descriptor, buffer, filled, buffer.length - filled, from + filled);
    if (length === 0) break;
    filled += length;
  }
  return buffer.subarray(0, filled);
}

function openIfThere(file: string, flags: 'r' | 'r+'): number | null {
  try {
    return openSync(file, flags);
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

export function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

export function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}
