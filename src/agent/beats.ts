import type { InstantMs, NodeName } from '../model/ids.ts';
import type { Endpoint } from '../model/node-promise.ts';
import type { Clock } from '../ports/clock.ts';
import type { Peers } from '../ports/peers.ts';

/** Four beats missed: long enough for an agent to be restarted, short enough to miss a dead host in about 2 s. */
const SILENT_AFTER_MS = 2000;
/** A beat missed: it says nothing yet, but what will be asked when it is silent can be asked now. */
const LATE_AFTER_MS = 900;
const LISTEN_AGAIN_MS = 200;
/** A peer that is cut off leaves a connection that comes to life only when TCP tries again: as late as it was cut off for. */
const HANG_UP_AFTER_MS = 6000;

interface Heard {
  abort: AbortController;
  peer: Endpoint;
  lastMs: InstantMs;
  /** Of the stream under way. */
  hangUp: AbortController;
  cancel: () => void;
  cancelHangUp: () => void;
}

/** Listens to the hearts of the nodes this one observes, so that a dead host is known long before its lease ends. */
export class Beats {
  readonly #peers: Peers;
  readonly #clock: Clock;
  readonly #onChange: () => void;
  readonly #heard = new Map<NodeName, Heard>();

  /** `onChange`: somebody is late, or has been silent for too long, or is heard again after that. */
  constructor(options: { peers: Peers; clock: Clock; onChange: () => void }) {
    this.#peers = options.peers;
    this.#clock = options.clock;
    this.#onChange = options.onChange;
  }

  /** To exactly these from now on. A node that is new to it counts as heard a moment ago. */
  listenTo(nodes: ReadonlyMap<NodeName, Endpoint>): void {
    for (const [node, heard] of this.#heard) {
      const peer = nodes.get(node);
      if (peer?.host === heard.peer.host && peer.port === heard.peer.port) continue;
      this.#end(heard);
      this.#heard.delete(node);
    }
    for (const [node, peer] of nodes) {
      if (this.#heard.has(node)) continue;
      const heard = {
        abort: new AbortController(),
        peer,
        lastMs: this.#clock.now(),
        hangUp: new AbortController(),
        cancel: () => undefined,
        cancelHangUp: () => undefined,
      };
      this.#heard.set(node, heard);
      this.#arm(heard);
      void this.#listen(heard);
    }
  }

  /** How long a node has been silent, once that is too long; null while it is not, or is not listened to. */
  silentMs(node: NodeName): number | null {
    const heard = this.#heard.get(node);
    if (!heard) return null;
    const silentMs = this.#clock.now() - heard.lastMs;
    return silentMs >= SILENT_AFTER_MS ? silentMs : null;
  }

  /** Since when a node's beat is overdue; null while it is not, or is not listened to. */
  lateSinceMs(node: NodeName): InstantMs | null {
    const heard = this.#heard.get(node);
    if (!heard) return null;
    const sinceMs = heard.lastMs + LATE_AFTER_MS;
    return this.#clock.now() >= sinceMs ? sinceMs : null;
  }

  /** When all of several nodes fall silent together it is more likely this one that is cut off. */
  alone(afterMs = SILENT_AFTER_MS): boolean {
    const nowMs = this.#clock.now();
    return this.#heard.size > 1 && [...this.#heard.values()].every(({ lastMs }) => nowMs - lastMs >= afterMs);
  }

  stop(): void {
    for (const heard of this.#heard.values()) this.#end(heard);
    this.#heard.clear();
  }

  async #listen(heard: Heard): Promise<void> {
    const { signal } = heard.abort;
    while (!signal.aborted) {
      heard.hangUp = new AbortController();
      this.#bePatient(heard);
      await this.#peers.beats(heard.peer, () => this.#beat(heard), heard.hangUp.signal);
      heard.cancelHangUp();
      await this.#clock.sleep(LISTEN_AGAIN_MS, signal);
    }
  }

  #beat(heard: Heard): void {
    if (heard.abort.signal.aborted) return;
    const silentMs = this.#clock.now() - heard.lastMs;
    heard.lastMs = this.#clock.now();
    this.#arm(heard);
    this.#bePatient(heard);
    if (silentMs >= SILENT_AFTER_MS) this.#onChange();
  }

  #arm(heard: Heard): void {
    heard.cancel();
    heard.cancel = this.#clock.after(LATE_AFTER_MS, () => {
      heard.cancel = this.#clock.after(SILENT_AFTER_MS - LATE_AFTER_MS, this.#onChange);
      this.#onChange();
    });
  }

  #bePatient(heard: Heard): void {
    heard.cancelHangUp();
    heard.cancelHangUp = this.#clock.after(HANG_UP_AFTER_MS, () => heard.hangUp.abort());
  }

  #end(heard: Heard): void {
    heard.abort.abort();
    heard.hangUp.abort();
    heard.cancel();
    heard.cancelHangUp();
  }
}
