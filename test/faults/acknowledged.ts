import { setTimeout as sleep } from 'node:timers/promises';
import type { Store } from '../../src/ports/store.ts';
import type { TestNode } from '../support/cluster.ts';

const PAUSE_MS = 700;
const PATIENCE_MS = 3000;
const LADDER = 'ladder';

/** Apps that no node can take: what is asked of them is only written. */
const manifestOf = (app: string, source: string): string =>
  JSON.stringify({
    metadata: { id: app },
    source: { uploaded: source },
    run: { start: 'exec true' },
    placement: { requires: { zone: 'nowhere' } },
  });

/** Goes from agent to agent, applies an app and scales another, and remembers what was acknowledged. */
export class AcknowledgedWrites {
  readonly #nodes: TestNode[];
  readonly #source: string;
  readonly #run: string;
  readonly #applied: string[] = [];
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #scaled: number | null = null;
  /** May have been written at any time since. */
  readonly #unknown = new Set<number>();
  #scale = 1;

  /** `source`: of any app that is there. */
  constructor(nodes: TestNode[], source: string, run: string) {
    this.#nodes = nodes;
    this.#source = source;
    this.#run = run;
    this.#running = this.#drive();
  }

  static async prepare(node: TestNode, source: string): Promise<void> {
    const trouble = await notApplied(node, LADDER, source);
    if (trouble !== null) throw new Error(`${LADDER} could not be applied: ${trouble}`);
  }

  /** What was acknowledged and is not there. */
  async end(store: Store): Promise<{ count: number; lost: string[] }> {
    this.#stop.abort();
    await this.#running;
    const { entries } = await store.list('apps');
    const there = new Map(entries.map(({ name, value }) => [name, value.spec]));
    const lost = this.#applied.filter(app => !there.has(app));
    const scale = there.get(LADDER)?.processes[0]?.scale ?? -1;
    if (this.#scaled !== null && scale !== this.#scaled && !this.#unknown.has(scale)) {
      lost.push(`scale ${this.#scaled} of ${LADDER}, which is ${scale}`);
    }
    return { count: this.#applied.length + (this.#scaled === null ? 0 : 1), lost };
  }

  async #drive(): Promise<void> {
    for (let turn = 0; !this.#stop.signal.aborted; turn++) {
      const node = this.#nodes[turn % this.#nodes.length]!;
      const app = `mark-${this.#run}-${turn}`;
      if ((await notApplied(node, app, this.#source)) === null) this.#applied.push(app);
      const scale = 2 + (this.#scale++ % 20);
      try {
        await node.api.scale(LADDER, { web: scale }, AbortSignal.timeout(PATIENCE_MS));
        this.#scaled = scale;
        this.#unknown.delete(scale);
      } catch {
        // It may still happen, or have happened: only what was acknowledged counts.
        this.#unknown.add(scale);
      }
      await sleep(PAUSE_MS);
    }
  }
}

/** Null when the agent said that it was. */
async function notApplied(node: TestNode, app: string, source: string): Promise<string | null> {
  try {
    let last = 'it said nothing';
    for await (const progress of node.api.applyManifest(
      manifestOf(app, source),
      AbortSignal.timeout(PATIENCE_MS),
    )) {
      if (progress.kind === 'done' && progress.result.kind === 'applied') return null;
      last = JSON.stringify(progress);
    }
    return last;
  } catch (error) {
    return (error as Error).message;
  }
}
