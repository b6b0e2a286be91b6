/** A queue that one side fills and another iterates. Ends when closed; what was sent before is still delivered. */
export class Channel<T> implements AsyncIterable<T> {
  readonly #waiting: T[] = [];
  #closed = false;
  #wake: (() => void) | null = null;
  #room: (() => void)[] = [];

  send(item: T): void {
    if (this.#closed) return;
    this.#waiting.push(item);
    this.#wake?.();
  }

  /** Waits until fewer than `most` items wait; once closed, for nothing. */
  async offer(item: T, most: number): Promise<void> {
    while (!this.#closed && this.#waiting.length >= most) {
      await new Promise<void>(resolve => this.#room.push(resolve));
    }
    this.send(item);
  }

  close(): void {
    this.#closed = true;
    this.#wake?.();
    for (const resolve of this.#room.splice(0)) resolve();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    for (;;) {
      const item = this.#waiting.shift();
      if (item !== undefined) {
        for (const resolve of this.#room.splice(0)) resolve();
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
