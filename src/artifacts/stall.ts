import type { Clock } from '../ports/clock.ts';

/** The same chunks. @throws Error when the next one takes longer than `stallMs`; the signal's reason when aborted */
export async function* untilStalled(
  source: AsyncIterable<Uint8Array>,
  clock: Clock,
  stallMs: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const iterator = source[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await within(iterator.next(), clock, stallMs, signal);
      if (next.done) return;
      yield next.value;
    }
  } finally {
    // A stalled source may never answer this either: nobody waits for it.
    iterator.return?.().catch(() => undefined);
  }
}

async function within<T>(work: Promise<T>, clock: Clock, limitMs: number, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  work.catch(() => undefined);
  let onAbort: () => void = () => undefined;
  let cancel: () => void = () => undefined;
  const stopped = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(signal.reason as Error);
    cancel = clock.after(limitMs, () => reject(new Error(`nothing came for ${limitMs / 1000} s`)));
  });
  signal.addEventListener('abort', onAbort);
  try {
    return await Promise.race([work, stopped]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    cancel();
  }
}
