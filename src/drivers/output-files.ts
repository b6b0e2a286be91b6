import {
  closeSync,
  fchownSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

import { parseInstanceId, type InstanceId, type Timestamp } from '../model/ids.ts';

/**
 * Output on disk: `<logs>/<app>/<type>.<index>/<start time>_<unit>.out` and `.err`, one file a unit and stream, which the
 * processes write to themselves, so nothing is lost while the agent is away. Names sort in the order of starting.
 */
export interface OutputFiles {
  out: string;
  err: string;
}

export const STREAMS = [
  { stream: 'stdout', key: 'out' },
  { stream: 'stderr', key: 'err' },
] as const;

export interface RotationLimits {
  /** A file is rotated when it is larger than this. */
  bytes: number;
  /** How many files a stream of one unit has at most, the one written to included. */
  files: number;
}

/** How many ended units' output is kept for each instance. */
const UNITS_KEPT = 5;
const SMALLEST_READ_BYTES = 16 * 1024;
const LARGEST_READ_BYTES = 4 * 1024 * 1024;

export function outputDirectory(logs: string, instance: InstanceId): string {
  const { app, process, index } = parseInstanceId(instance);
  return join(logs, app, `${process}.${index}`);
}

export function outputFilesFor(directory: string, unit: string, startedAt: Timestamp): OutputFiles {
  const stem = join(directory, `${startedAt.replaceAll(':', '-')}_${encodeURIComponent(unit)}`);
  return { out: `${stem}.out`, err: `${stem}.err` };
}

/**
 * Opened for appending, so that truncation takes effect on whoever has them open. They belong to the user who writes to
 * them, since some programs open /dev/stderr anew.
 */
export function openOutput(
  files: OutputFiles,
  user: { uid: number; gid: number } | undefined,
): { out: number; err: number; close(): void } {
  const out = openAppending(files.out);
  const err = openAppending(files.err);
  if (user !== undefined) for (const descriptor of [out, err]) fchownSync(descriptor, user.uid, user.gid);
  return {
    out,
    err,
    close() {
      closeSync(out);
      closeSync(err);
    },
  };
}

/** Units with output in the directory, in the order they were started. */
export function unitsWithOutput(directory: string): { unit: string; files: OutputFiles }[] {
  return stemsIn(directory).map(stem => ({
    unit: decodeURIComponent(stem.slice(stem.indexOf('_') + 1)),
    files: { out: join(directory, `${stem}.out`), err: join(directory, `${stem}.err`) },
  }));
}

/** Removes the output of the oldest units, never of the `known` ones. */
export function pruneOutput(directory: string, known: ReadonlySet<string>): void {
  const ended = unitsWithOutput(directory).filter(({ unit }) => !known.has(unit));
  for (const { files } of ended.slice(0, -UNITS_KEPT)) {
    for (const { key } of STREAMS) {
      for (const file of generations(files[key])) rmSync(file, { force: true });
    }
  }
}

/** Removes directories of instances, other than the `used` ones, in which nothing was written since then. */
export function removeAbandoned(logs: string, used: ReadonlySet<string>, sinceWallMs: number): void {
  for (const app of namesIn(logs)) {
    for (const instance of namesIn(join(logs, app))) {
      const directory = join(logs, app, instance);
      if (used.has(directory)) continue;
      const files = namesIn(directory).map(name => join(directory, name));
      const written = files.map(file => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0);
      if (written.every(ms => ms < sinceWallMs)) rmSync(directory, { recursive: true, force: true });
    }
  }
}

/**
 * Copies a file that has grown too large to `<file>.1`, shifts the older ones, and truncates it in place. What a process
 * writes between the copy and the truncation (microseconds) is lost: the price of processes that write by themselves.
 */
export function rotate(file: string, limits: RotationLimits, beforeTruncation: (file: string) => void): void {
  if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) <= limits.bytes) return;
  const descriptor = openIfThere(file, 'r+');
  if (descriptor === null) return;
  try {
    const size = fstatSync(descriptor).size;
    for (let age = limits.files - 1; age > 1; age--) renameIfThere(`${file}.${age - 1}`, `${file}.${age}`);
    // A process that wrote far more than the limit between two looks keeps its newest part only.
    const kept = readRange(descriptor, Math.max(0, size - limits.bytes), size);
    if (limits.files > 1) writeFileSync(`${file}.1`, kept, { mode: 0o600 });
    beforeTruncation(file);
    ftruncateSync(descriptor, 0);
  } finally {
    closeSync(descriptor);
  }
}

export interface Tail {
  /** Oldest first. */
  lines: string[];
  /** Where in the newest file the last complete line ends. */
  completeTo: number;
  /** Where the newest file ended when it was read. */
  end: number;
  /** When it was last written to. */
  writtenMs: number;
}

/** The newest lines of one stream of one unit, looking into rotated files as far as needed. */
export function readTail(file: string, count: number, options: { partial: boolean }): Tail {
  const newest = readTailOfFile(file, count);
  const lines = options.partial && newest.rest !== '' ? [...newest.lines, newest.rest] : newest.lines;
  for (const older of generations(file).slice(1)) {
    if (lines.length >= count) break;
    const { lines: before, rest } = readTailOfFile(older, count - lines.length);
    lines.unshift(...before, ...(rest === '' ? [] : [rest]));
  }
  return {
    lines: count === 0 ? [] : lines.slice(-count),
    completeTo: newest.completeTo,
    end: newest.end,
    writtenMs: newest.writtenMs,
  };
}

/** From `offset` to the end, at most `limit` bytes; null when the file is not there. */
export function readFrom(
  file: string,
  offset: number,
  limit: number,
): { bytes: Buffer; size: number } | null {
  const descriptor = openIfThere(file, 'r');
  if (descriptor === null) return null;
  try {
    const size = fstatSync(descriptor).size;
    return { bytes: readRange(descriptor, Math.min(offset, size), Math.min(size, offset + limit)), size };
  } finally {
    closeSync(descriptor);
  }
}

export function textOfLine(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  return text.endsWith('\r') ? text.slice(0, -1) : text;
}

function readTailOfFile(file: string, count: number): Tail & { rest: string } {
  const descriptor = openIfThere(file, 'r');
  if (descriptor === null) return { lines: [], rest: '', completeTo: 0, end: 0, writtenMs: 0 };
  try {
    const { size, mtimeMs } = fstatSync(descriptor);
    for (let length = SMALLEST_READ_BYTES; ; length *= 4) {
      const start = Math.max(0, size - length);
      const bytes = readRange(descriptor, start, size);
      const lastNewline = bytes.lastIndexOf(0x0a);
      const complete = bytes.subarray(0, lastNewline + 1);
      const lines = splitLines(complete);
      // The first line of a window that does not start the file may be cut.
      if (start > 0) lines.shift();
      if (start > 0 && lines.length < count && length < LARGEST_READ_BYTES) continue;
      return {
        lines: count === 0 ? [] : lines.slice(-count),
        rest: textOfLine(bytes.subarray(lastNewline + 1)),
        completeTo: start + lastNewline + 1,
        end: start + bytes.length,
        writtenMs: mtimeMs,
      };
    }
  } finally {
    closeSync(descriptor);
  }
}

function splitLines(complete: Buffer): string[] {
  if (complete.length === 0) return [];
  return complete
    .toString('utf8')
    .slice(0, -1)
    .split('\n')
    .map(line => (line.endsWith('\r') ? line.slice(0, -1) : line));
}

/** The file itself and what was rotated out of it, newest first. */
function generations(file: string): string[] {
  const found = [file];
  for (let age = 1; statSync(`${file}.${age}`, { throwIfNoEntry: false }) !== undefined; age++) {
    found.push(`${file}.${age}`);
  }
  return found;
}

function stemsIn(directory: string): string[] {
  const stems = namesIn(directory)
    .filter(name => /\.(out|err)$/.test(name))
    .map(name => name.slice(0, -'.out'.length));
  return [...new Set(stems)].sort();
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

function openAppending(file: string): number {
  try {
    return openSync(file, 'a', 0o600);
  } catch (error) {
    if (!isMissing(error)) throw error;
    mkdirSync(join(file, '..'), { recursive: true, mode: 0o700 });
    return openSync(file, 'a', 0o600);
  }
}

function openIfThere(file: string, flags: 'r' | 'r+'): number | null {
  try {
    return openSync(file, flags);
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (!isMissing(error)) throw error;
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

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}
