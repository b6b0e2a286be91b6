import { setTimeout as sleep } from 'node:timers/promises';
import { askProxy, type Node } from './fleet.ts';

const ASK_EVERY_MS = 100;

export interface Heard {
  asked: number;
  failed: number;
  /** The longest time between two answers. */
  longestSilenceMs: number;
}

/** Asks the app again and again, through the proxy of each node. */
export class Traffic {
  readonly #heard = new Map<string, Heard>();
  readonly #end = new AbortController();
  readonly #asking: Promise<void>[];

  constructor(nodes: Node[], hostname: string) {
    this.#asking = nodes.map(node => this.#ask(node, hostname));
  }

  /** By the names of the hosts. */
  async stop(): Promise<ReadonlyMap<string, Heard>> {
    this.#end.abort();
    await Promise.all(this.#asking);
    return this.#heard;
  }

  async #ask(node: Node, hostname: string): Promise<void> {
    const heard: Heard = { asked: 0, failed: 0, longestSilenceMs: 0 };
    this.#heard.set(node.host.name, heard);
    let answeredMs = performance.now();
    while (!this.#end.signal.aborted) {
      const answer = await askProxy(node, hostname);
      heard.asked++;
      if (answer === null) heard.failed++;
      const nowMs = performance.now();
      heard.longestSilenceMs = Math.max(heard.longestSilenceMs, Math.round(nowMs - answeredMs));
      if (answer !== null) answeredMs = nowMs;
      await sleep(ASK_EVERY_MS);
    }
  }
}
