import { openSync, readSync } from 'node:fs';

import type { Clock } from '../ports/clock.ts';

/** Beyond this a Node timer fires at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Linux only. `now()` is CLOCK_BOOTTIME with the fine steps of CLOCK_MONOTONIC; a call takes about 2 µs on an idle machine and
 * 5 to 7 on a busy one. In the first moments of a process it may still move up to 10 ms towards the true value. Timers do not
 * count suspension: compare `now()` after waking. @throws Error when /proc/uptime can't be read
 */
export function systemClock(): Clock {
  const now = bootClock(readUptimeMs(openSync('/proc/uptime', 'r')), monotonicMs);
  return {
    now,
    timestamp: (aheadMs = 0) => new Date(Date.now() + aheadMs).toISOString(),
    sleep: (durationMs, signal) =>
      new Promise(resolve => {
        if (signal?.aborted) {
          resolve();
          return;
        }
        const cancel = startTimer(durationMs, finish);
        signal?.addEventListener('abort', finish, { once: true });

        function finish(): void {
          cancel();
          signal?.removeEventListener('abort', finish);
          resolve();
        }
      }),
    after: startTimer,
  };
}

/**
 * /proc/uptime counts suspension but is cut to 10 ms; the monotonic clock is fine but stands still in suspension. The
 * uptime never runs ahead, so the highest difference seen so far is the best known offset between the two: it settles
 * within a few calls, jumps by exactly what was slept, and never shrinks.
 */
export function bootClock(uptimeMs: () => number, fineMs: () => number): () => number {
  let offsetMs = -Infinity;
  return () => {
    const coarse = uptimeMs();
    const fine = fineMs();
    offsetMs = Math.max(offsetMs, coarse - fine);
    return fine + offsetMs;
  };
}

function readUptimeMs(descriptor: number): () => number {
  const buffer = Buffer.alloc(64);
  return () => {
    const length = readSync(descriptor, buffer, 0, buffer.length, 0);
    return Number.parseFloat(buffer.toString('latin1', 0, length)) * 1000;
  };
}

function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

function startTimer(durationMs: number, callback: () => void): () => void {
  let timer: NodeJS.Timeout;
  arm(Math.max(0, durationMs));
  return () => clearTimeout(timer);

  function arm(leftMs: number): void {
    const stepMs = Math.min(leftMs, LONGEST_TIMER_MS);
    timer = setTimeout(() => {
      if (leftMs > stepMs) arm(leftMs - stepMs);
      else callback();
    }, stepMs);
  }
}
