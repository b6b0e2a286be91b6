/** A queue that one side fills and another iterates. Ends when closed; what was sent before is still delivered. */
export class Channel<T> implements AsyncIterable<T> {
  readonly #waiting: T[] = [];
  #closed = false;
  #wake: (() => void) | null = null;

  send(item: T): void {
    if (this.#closed) return;
    this.#waiting.push(item);
    this.#wake?.();
  }

  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    for (;;) {
      const item = this.#waiting.shift();
      if (item !== undefined) {
        yield item;
        continue;
      }
      if (this.#closed) return;
      await new Promise<void>(resolve => {
        this.#wake = resolve;
      });
      this.#wake = null;
    }
  }
}

/** Several streams as one, in the order in which items come. One that fails ends in `onError`, not the others. */
export async function* merged<T>(
  streams: AsyncIterable<T>[],
  signal: AbortSignal,
  onError: (error: unknown) => T | null,
): AsyncIterable<T> {
  const channel = new Channel<T>();
  const drains = streams.map(async stream => {
    try {
      for await (const item of stream) channel.send(item);
    } catch (error) {
      const item = signal.aborted ? null : onError(error);
      if (item !== null) channel.send(item);
    }
  });
  void Promise.all(drains).then(() => channel.close());
  const close = (): void => channel.close();
  signal.addEventListener('abort', close, { once: true });
  try {
    yield* channel;
  } finally {
    signal.removeEventListener('abort', close);
  }
}
