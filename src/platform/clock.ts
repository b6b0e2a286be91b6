import { openSync, readSync } from 'node:fs';

import type { Clock } from '../ports/clock.ts';

/** Beyond this a Node timer fires at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** How long the kernel's own count is not looked at again, in waking time: a look takes 2 µs on an idle machine, and 7 on a busy one. */
const LOOK_AGAIN_MS = 1;

/**
 * Linux only. `now()` is CLOCK_BOOTTIME with the fine steps of CLOCK_MONOTONIC. In the first moments of a process it may still
 * move up to 10 ms towards the true value. A suspension is counted after a millisecond of waking at the latest: whoever reads
 * `now()` before that is as one who read it just before and acted just after. Timers do not count suspension: compare `now()`
 * after waking. @throws Error when /proc/uptime can't be read
 */
export function systemClock(): Clock {
  const now = bootClock(readUptimeMs(openSync('/proc/uptime', 'r')), () => performance.now());
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
 * within a few looks, jumps by exactly what was slept, and never shrinks.
 */
export function bootClock(uptimeMs: () => number, fineMs: () => number): () => number {
  let offsetMs = -Infinity;
  let lookedMs = -Infinity;
  return () => {
    let fine = fineMs();
    if (fine - lookedMs >= LOOK_AGAIN_MS) {
      const coarse = uptimeMs();
      // In this order: what passes between the two makes the offset too small, never too large.
      fine = fineMs();
      offsetMs = Math.max(offsetMs, coarse - fine);
      lookedMs = fine;
    }
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

/**
 * Never early: who is called back finds that so long has passed. A Node timer counts whole milliseconds, and calls back up to one
 * too soon.
 */
function startTimer(durationMs: number, callback: () => void): () => void {
  const dueMs = performance.now() + Math.max(0, durationMs);
  let timer: NodeJS.Timeout;
  arm();
  return () => clearTimeout(timer);

  function arm(): void {
    const stepMs = Math.min(Math.ceil(dueMs - performance.now()), LONGEST_TIMER_MS);
    timer = setTimeout(() => {
      if (performance.now() < dueMs) arm();
      else callback();
    }, stepMs);
  }
}
