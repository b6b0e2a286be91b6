import { dirname } from 'node:path';

import type { InstanceId } from '../model/ids.ts';
import type { UnitExit } from '../model/reconciliation.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { pruneOutput, removeAbandoned, STREAMS, type OutputFiles } from './output-files.ts';
import { rotate, type RotationLimits } from './output-pieces.ts';

/** Whose output is kept in bounds. */
interface OutputUnit {
  unit: string;
  instance: InstanceId;
  output: OutputFiles;
  exit: UnitExit | null;
}

export interface OutputKeeper {
  /** Looks at once, then every second until `closing` aborts. */
  keep(units: () => OutputUnit[]): void;
  /** Called just before a file is truncated. Returns how to stop. */
  onTruncation(listener: (file: string) => void): () => void;
}

const INTERVAL_MS = 1000;
/** Output of an instance that runs here no more. */
const ABANDONED_AFTER_MS = 14 * 24 * 3600 * 1000;

/** Rotates what has grown too large and removes the output of copies long gone, on a timer of its own. */
export function outputKeeper(options: {
  logs: string;
  rotation: RotationLimits;
  clock: Clock;
  log: Log;
  closing: AbortSignal;
}): OutputKeeper {
  const { logs, rotation, clock, log, closing } = options;
  const listeners = new Set<(file: string) => void>();
  let directories = new Map<string, number>();

  return {
    keep(units) {
      guarded(() => {
        const used = new Set(units().map(({ output }) => dirname(output.out)));
        removeAbandoned(logs, used, Date.parse(clock.timestamp()) - ABANDONED_AFTER_MS);
      });
      look();

      function look(): void {
        guarded(() => {
          const all = units();
          rotateLive(all);
          pruneChanged(all);
        });
        const cancel = clock.after(INTERVAL_MS, () => {
          closing.removeEventListener('abort', cancel);
          look();
        });
        closing.addEventListener('abort', cancel);
      }
    },
    onTruncation(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };

  /** A full disk or a spent descriptor now is no reason to end the agent: the next look tries again. */
  function guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      log.warn('output files could not be kept in bounds, trying again', { error });
    }
  }

  function rotateLive(units: OutputUnit[]): void {
    for (const { output, exit } of units) {
      if (exit !== null) continue;
      for (const { key } of STREAMS) {
        rotate(output[key], rotation, file => {
          for (const listener of listeners) listener(file);
        });
      }
    }
  }

  /** Only where a unit has come or gone since the last look. */
  function pruneChanged(units: OutputUnit[]): void {
    const counts = new Map<string, number>();
    for (const { output } of units) {
      const directory = dirname(output.out);
      counts.set(directory, (counts.get(directory) ?? 0) + 1);
    }
    const known = new Set(units.map(({ unit }) => unit));
    for (const [directory, count] of counts) {
      if (directories.get(directory) !== count) pruneOutput(directory, known);
    }
    directories = counts;
  }
}
