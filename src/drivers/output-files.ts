import { closeSync, fchownSync, mkdirSync, openSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { parseInstanceId, type InstanceId, type Timestamp } from '../model/ids.ts';
import { filesOf, isMissing, namesIn } from './output-pieces.ts';

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

/** How many ended units' output is kept for each instance. */
const UNITS_KEPT = 5;

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
      for (const file of filesOf(files[key])) rmSync(file, { force: true });
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

function stemsIn(directory: string): string[] {
  const stems = namesIn(directory)
    .filter(name => /\.(out|err)$/.test(name))
    .map(name => name.slice(0, -'.out'.length));
  return [...new Set(stems)].sort();
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
