import { instanceOfSubject, type InstanceId, type NodeName } from '../model/ids.ts';
import type { LogLine } from '../model/views.ts';
import { AdminError, type LogOptions } from '../ports/admin.ts';
import { isAborted, type Clock } from '../ports/clock.ts';
import type { Driver, OutputLine, OutputOptions } from '../ports/driver.ts';
import type { Peers } from '../ports/peers.ts';
import { Channel } from './channel.ts';
import { instanceViews } from './views.ts';
import type { World } from './world.ts';

/** Longer ones would not fit into a request's head: then there is none. */
const LONGEST_CURSOR = 6000;
/** Of an instance that comes later: all it has said, unless that is very much. */
const LINES_OF_A_NEWCOMER = 1000;
const ASKED_AGAIN_MS = 1000;
/** What an instance says last where it ran may come a little late. */
const FAREWELL_MS = 2000;
const READ_AHEAD = 1000;

export interface LogParts {
  node: NodeName;
  world: World;
  driver: Pick<Driver, 'output'>;
  peers: Pick<Peers, 'output'>;
  clock: Clock;
}

interface Reading {
  instance: InstanceId;
  node: NodeName;
  stop: AbortController;
}

interface Item {
  reading: Reading;
  line: OutputLine;
}

/**
 * What the instances that a target names have written, wherever they run; followed, also from where they come to run
 * later. When there are none any more, what is kept of the last ones. @throws AdminError when the target names nothing
 */
export async function* readLogs(
  parts: LogParts,
  target: string,
  options: LogOptions,
  signal: AbortSignal,
): AsyncGenerator<LogLine> {
  if (named(parts.world, target).length === 0)
    throw new AdminError('not-found', whyNone(parts.world, target));
  const logs = new Logs(parts, target, options);
  const end = (): void => logs.end();
  signal.addEventListener('abort', end, { once: true });
  if (signal.aborted) end();
  try {
    yield* logs.lines();
  } finally {
    signal.removeEventListener('abort', end);
    end();
  }
}

class Logs {
  readonly #parts: LogParts;
  readonly #target: string;
  readonly #options: LogOptions;
  readonly #channel = new Channel<Item>();
  readonly #readings = new Map<InstanceId, Reading>();
  /** How far what was given out has come, by instance. */
  readonly #places: Map<InstanceId, { node: NodeName; cursor: string }>;
  /** How far each instance has been read on each node, for one that comes back. */
  readonly #left = new Map<string, string>();
  readonly #waitedFor = new Set<Reading>();
  readonly #stop = new AbortController();
  #open = 0;
  #began = false;

  constructor(parts: LogParts, target: string, options: LogOptions) {
    this.#parts = parts;
    this.#target = target;
    this.#options = options;
    this.#places = parsePlaces(options.after ?? '');
  }

  async *lines(): AsyncGenerator<LogLine> {
    const { world } = this.#parts;
    const stop = this.#options.follow
      ? world.onChange(['apps', 'owners', 'promises', 'sessions'], () => this.#look())
      : () => undefined;
    this.#look();
    this.#began = true;
    try {
      for await (const { reading, line } of this.#channel) {
        const { instance, node } = reading;
        // What comes late from where an instance was says nothing of where to go on.
        if (line.cursor !== undefined && this.#readings.get(instance) === reading) {
          this.#places.set(instance, { node, cursor: line.cursor });
        }
        const cursor = placesText(this.#places);
        yield { instance, node, stream: line.stream, text: line.text, ...(cursor !== null && { cursor }) };
      }
    } finally {
      stop();
    }
  }

  end(): void {
    this.#stop.abort();
    for (const { stop } of this.#readings.values()) stop.abort();
    this.#channel.close();
  }

  /** Reads from everything that is named, where it runs now. */
  #look(): void {
    if (this.#stop.signal.aborted) return;
    const { world, node: here, clock } = this.#parts;
    for (const { instance, node: at, gone } of named(world, this.#target)) {
      // What was before the instances that are followed is not what is followed.
      if (gone && this.#began) continue;
      const node = at ?? here;
      const before = this.#readings.get(instance);
      // Nobody has it for a moment: what there is to read is where it was.
      if (before !== undefined && (at === null || before.node === node)) continue;
      if (before !== undefined) clock.after(FAREWELL_MS, () => before.stop.abort());
      const reading = { instance, node, stop: new AbortController() };
      this.#readings.set(instance, reading);
      if (gone && !this.#places.has(instance)) this.#channel.send({ reading, line: obituary(reading) });
      if (!this.#began) this.#waitedFor.add(reading);
      this.#open++;
      void this.#read(reading).finally(() => {
        this.#begun(reading);
        this.#open--;
        if (this.#open === 0 && !this.#options.follow) this.#channel.close();
      });
    }
  }

  async #read(reading: Reading): Promise<void> {
    const { clock } = this.#parts;
    const signal = reading.stop.signal;
    const place = this.#places.get(reading.instance);
    const key = `${reading.instance}@${reading.node}`;
    let after = place?.node === reading.node ? place.cursor : this.#left.get(key);
    const isNewcomer = after === undefined && (this.#began || this.#options.after !== undefined);
    const lines = Math.max(this.#options.lines, isNewcomer ? LINES_OF_A_NEWCOMER : 0);
    let silent = false;
    while (!isAborted(signal)) {
      const onStart = (cursor: string): void => {
        after ??= cursor;
        if (!this.#places.has(reading.instance)) {
          this.#places.set(reading.instance, { node: reading.node, cursor });
        }
        this.#begun(reading);
      };
      const options = { lines, follow: this.#options.follow, signal, onStart };
      try {
        for await (const line of this.#output(reading, {
          ...options,
          ...(after !== undefined && { after }),
        })) {
          silent = false;
          after = line.cursor ?? after;
          if (after !== undefined) this.#left.set(key, after);
          await this.#channel.offer({ reading, line }, READ_AHEAD);
        }
      } catch (error) {
        // One node that does not answer must not hide what the others have to say.
        if (!silent && !isAborted(signal)) this.#channel.send({ reading, line: apology(reading, error) });
        silent = true;
      }
      this.#begun(reading);
      if (!this.#options.follow) return;
      await clock.sleep(ASKED_AGAIN_MS, signal);
    }
  }

  #output({ instance, node }: Reading, options: OutputOptions): AsyncIterable<OutputLine> {
    const { node: here, world, driver, peers } = this.#parts;
    if (node === here) return driver.output(instance, options);
    const peer = world.nodes().get(node)?.value.peer;
    if (!peer) throw new Error('it is not in the cluster now');
    return peers.output(peer, instance, options);
  }

  /** Once all that were there at the beginning have begun, or could not. */
  #begun(reading: Reading): void {
    if (!this.#waitedFor.delete(reading) || this.#waitedFor.size > 0) return;
    const cursor = placesText(this.#places);
    if (cursor !== null) this.#options.onPlace?.(cursor);
  }
}

interface Named {
  instance: InstanceId;
  /** null = nobody has it. */
  node: NodeName | null;
  /** It is not wanted any more, and nobody has it; `node` is where it was last. */
  gone: boolean;
}

/** What a target names: instances that there are, or else those that were. Their last owners are known until their app is removed. */
function named(world: World, target: string): Named[] {
  const isMeant = (instance: InstanceId): boolean => instance === target || instance.startsWith(`${target}/`);
  const there = instanceViews(world).filter(({ instance }) => isMeant(instance));
  if (there.length > 0) return there.map(({ instance, node }) => ({ instance, node, gone: false }));
  return world.owners.all().flatMap(({ name, value: { node } }) => {
    const instance = instanceOfSubject(name);
    return instance !== null && isMeant(instance) ? [{ instance, node, gone: true }] : [];
  });
}

function whyNone({ apps }: World, target: string): string {
  const [app = '', type, index] = target.split('/');
  const spec = apps.get(app)?.value.spec;
  const process = spec?.processes.find(other => other.type === type);
  if (spec === undefined || index !== undefined || (type !== undefined && process === undefined))
    return `there is no app, process type or instance "${target}"`;
  return `"${target}" has no instance, and has never had one`;
}

function obituary({ node }: Reading): OutputLine {
  return {
    unit: '',
    stream: 'stderr',
    text: `(there is no such instance now; what ${node} has kept of it:)`,
  };
}

function apology({ node }: Reading, error: unknown): OutputLine {
  const message = error instanceof Error ? error.message : String(error);
  return { unit: '', stream: 'stderr', text: `(no output from ${node}: ${message})` };
}

/** `<instance>@<node>@<cursor of its output there>`, with commas between. */
function placesText(places: ReadonlyMap<InstanceId, { node: NodeName; cursor: string }>): string | null {
  const text = [...places].map(([instance, { node, cursor }]) => `${instance}@${node}@${cursor}`).join(',');
  return text === '' || text.length > LONGEST_CURSOR ? null : text;
}

/** Only what makes sense of it. */
function parsePlaces(text: string): Map<InstanceId, { node: NodeName; cursor: string }> {
  const parts = text.split(',').map(part => part.split('@'));
  return new Map(
    parts.flatMap(([instance = '', node = '', cursor, ...rest]) =>
      cursor === undefined || rest.length > 0 ? [] : [[instance, { node, cursor }]],
    ),
  );
}
