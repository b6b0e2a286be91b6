import { Readable } from 'node:stream';
import { setImmediate as macrotask } from 'node:timers/promises';
import type { InstantMs } from '../model/ids.ts';
import type { Clock } from '../ports/clock.ts';
import type { ProblemDetails } from './wire.ts';

/** What surrounds the items of a stream. */
export interface Framing {
  type: string;
  /** Sent first, when not empty. */
  opening: string;
  /** Sent when nothing else was for a while; null = nothing may come between items. */
  heartbeat: string | null;
  /** Sent last, when the source fails. */
  failure(problem: ProblemDetails): string;
}

export interface StreamFormat<T> extends Framing {
  item(item: T): string;
}

export interface StreamLimits {
  heartbeatMs: number;
  /** A client that takes nothing, or sends nothing of its body, for so long is dropped. */
  stallMs: number;
  /** Events that may wait for one client; more, and it is dropped. It can resume. */
  waitingBytes: number;
}

/**
 * WHATWG server-sent events; `id` is what the client resumes from. Without `data` (undefined) only that place moves on:
 * no event is seen by the client.
 */
export function serverSentEvents<T>(of: {
  id: (item: T) => string | null;
  data: (item: T) => unknown;
}): StreamFormat<T> {
  return {
    type: 'text/event-stream',
    opening: 'retry: 1000\n\n',
    item: item => {
      const id = of.id(item);
      const data = of.data(item);
      const lines = [
        ...(id === null ? [] : [`id: ${id}\n`]),
        ...(data === undefined ? [] : [`data: ${JSON.stringify(data)}\n`]),
      ];
      return `${lines.join('')}\n`;
    },
    heartbeat: ': still here\n\n',
    failure: problem => `event: problem\ndata: ${JSON.stringify(problem)}\n\n`,
  };
}

/** One JSON document a line; blank lines are heartbeats, a last line `{"problem": …}` says why it broke off. */
export function jsonLines<T>(): StreamFormat<T> {
  return {
    type: 'application/x-ndjson',
    opening: '',
    item: item => `${JSON.stringify(item)}\n`,
    heartbeat: '\n',
    failure: problem => `${JSON.stringify({ problem })}\n`,
  };
}

export function plainLines<T>(text: (item: T) => string): StreamFormat<T> {
  return {
    type: 'text/plain',
    opening: '',
    item: item => `${text(item)}\n`,
    heartbeat: null,
    failure: problem => `hop3-agent: broke off: ${problem.detail}\n`,
  };
}

/** A source that fails at once fails here, while its status can still be sent; one that waits is not waited for. */
export async function begun<T>(
  source: AsyncIterable<T>,
  clock: Clock,
  patienceMs: number,
): Promise<AsyncIterable<T>> {
  const iterator = source[Symbol.asyncIterator]();
  const first = iterator.next();
  const enough = new AbortController();
  await Promise.race([first, clock.sleep(patienceMs, enough.signal)]).finally(() => enough.abort());
  return resumed(iterator, first);
}

/** Puts a heartbeat where the source has been silent for a while. */
export async function* withHeartbeat(
  source: AsyncIterable<string>,
  beat: { text: string; everyMs: number; clock: Clock },
): AsyncGenerator<string> {
  const iterator = source[Symbol.asyncIterator]();
  try {
    for (let next = iterator.next(); ;) {
      const quiet = new AbortController();
      const silence = beat.clock.sleep(beat.everyMs, quiet.signal).then(() => null);
      const result = await Promise.race([next, silence]).finally(() => quiet.abort());
      if (result?.done === true) return;
      yield result === null ? beat.text : result.value;
      if (result !== null) next = iterator.next();
    }
  } finally {
    await iterator.return?.();
  }
}

/**
 * Takes from the source as fast as it gives, so that nothing piles up in it, and keeps at most `mostBytes` for a
 * reader that is slower; then calls `overflow`, once, and ends.
 */
export async function* readAhead(
  source: AsyncIterable<string>,
  mostBytes: number,
  overflow: () => void,
): AsyncGenerator<string> {
  let waiting: string[] = [];
  let bytes = 0;
  let wake: () => void = () => undefined;
  const state: { ended: boolean } = { ended: false };
  const taking = take().finally(() => {
    state.ended = true;
    wake();
  });
  // Awaited below; a reader that left before has no use for how the source ended.
  taking.catch(() => undefined);
  for (;;) {
    if (waiting.length > 0) {
      const ready = waiting.join('');
      waiting = [];
      bytes = 0;
      yield ready;
    } else if (state.ended) {
      await taking;
      return;
    } else {
      await new Promise<void>(resolve => (wake = resolve));
    }
  }

  async function take(): Promise<void> {
    for await (const text of source) {
      waiting.push(text);
      bytes += Buffer.byteLength(text);
      if (bytes > mostBytes) {
        overflow();
        return;
      }
      wake();
      // A reader that is there gets its turn: only then does what waits say something about it.
      if (bytes * 2 > mostBytes) await macrotask();
    }
  }
}

/** Calls `stalled` when a chunk has not been taken for so long. */
export async function* unstalled(
  source: AsyncIterable<string>,
  stallMs: number,
  clock: Clock,
  stalled: () => void,
): AsyncGenerator<string> {
  for await (const chunk of source) {
    const cancel = clock.after(stallMs, stalled);
    try {
      yield chunk;
    } finally {
      cancel();
    }
  }
}

async function* resumed<T>(
  iterator: AsyncIterator<T, unknown>,
  first: Promise<IteratorResult<T, unknown>>,
): AsyncGenerator<T> {
  try {
    for (let result = await first; result.done !== true; result = await iterator.next()) yield result.value;
  } finally {
    await iterator.return?.();
  }
}

/**
 * What is told piece by piece, by somebody who lets the reader set the pace; where nothing was said for `heartbeatMs`, a sign of
 * life.
 */
export class Told extends Readable {
  readonly #clock: Clock;
  readonly #heartbeat: string | null;
  readonly #limits: StreamLimits;
  readonly #stalled: () => void;
  #taken: (() => void) | null = null;
  #saidMs: InstantMs;
  #cancelBeat: () => void = () => undefined;

  /** `stalled` is called when the reader takes nothing for `stallMs`. */
  constructor(
    framing: Framing,
    { clock, limits }: { clock: Clock; limits: StreamLimits },
    stalled: () => void,
  ) {
    super();
    this.#clock = clock;
    this.#heartbeat = framing.heartbeat;
    this.#limits = limits;
    this.#stalled = stalled;
    this.#saidMs = clock.now();
    this.push(framing.opening);
    this.#beatLater(limits.heartbeatMs);
  }

  /** One at a time: resolves when there is room for more, or nobody reads any longer. */
  async say(text: string | Buffer): Promise<void> {
    if (this.destroyed) return;
    this.#saidMs = this.#clock.now();
    if (this.push(text)) return;
    const cancel = this.#clock.after(this.#limits.stallMs, this.#stalled);
    await new Promise<void>(resolve => (this.#taken = resolve));
    cancel();
  }

  end(): void {
    this.#cancelBeat();
    if (!this.destroyed) this.push(null);
  }

  override _read(): void {
    this.#taken?.();
    this.#taken = null;
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#cancelBeat();
    this._read();
    done(error);
  }

  /** One timer for all that is said, however much that is. */
  #beatLater(inMs: number): void {
    const { heartbeatMs } = this.#limits;
    this.#cancelBeat = this.#clock.after(inMs, () => {
      const quietMs = this.#clock.now() - this.#saidMs;
      if (quietMs < heartbeatMs) {
        this.#beatLater(heartbeatMs - quietMs);
        return;
      }
      // Whoever has yet to take something needs no other sign of life.
      if (this.#heartbeat !== null && this.#taken === null) this.push(this.#heartbeat);
      this.#beatLater(heartbeatMs);
    });
  }
}
