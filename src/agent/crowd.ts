import type { InstantMs, NodeName } from '../model/ids.ts';
import { brake, type Brake } from '../supervise/brake.ts';
import { holdDownMs, unsteadiness, went } from '../supervise/steadiness.ts';
import type { Clock } from '../ports/clock.ts';
import type { Change } from '../ports/store.ts';
import { suspectedNodes, unreachableNodes } from './evidence.ts';
import type { World } from './world.ts';

/** A node that went is remembered this long when judging whether a crowd went, and for as long as something of it waits. */
const CROWD_MS = 30_000;

/**
 * Which nodes went lately, which of them come and go, and how fast takeovers may follow each other for it. Every node sees
 * the same changes, so all of them keep to the same law, with no supervisor and with two.
 */
export class Crowd {
  readonly #world: World;
  readonly #clock: Clock;
  readonly #goneSinceMs = new Map<NodeName, InstantMs>();
  readonly #wentMs = new Map<NodeName, InstantMs[]>();
  #waiting: ReadonlySet<NodeName> = new Set();
  #there = new Set<NodeName>();
  #heard = new Set<NodeName>();
  #engagedMs: InstantMs | null = null;
  #takeoverMs: InstantMs = -Infinity;
  readonly #stopListening: () => void;

  constructor({ world, clock }: { world: World; clock: Clock }) {
    this.#world = world;
    this.#clock = clock;
    this.#stopListening = world.owners.onChange(changes => {
      if (changes.some(isTakeover)) this.noteTakeover();
    });
  }

  /** To be called whenever sessions or assessments have changed, and before what follows is asked. */
  look(): void {
    if (!this.#world.sessions.synced || !this.#world.assessments.synced) return;
    const nowMs = this.#clock.now();
    const live = [...this.#world.nodes().keys()];
    const suspected = suspectedNodes(this.#world);
    const unreachable = unreachableNodes(this.#world);
    const there = new Set(live.filter(node => !suspected.has(node)));
    const heard = new Set(live.filter(node => !unreachable.has(node)));
    for (const node of this.#there)
      if (!there.has(node) && !this.#goneSinceMs.has(node)) this.#goneSinceMs.set(node, nowMs);
    for (const node of this.#heard)
      if (!heard.has(node)) this.#wentMs.set(node, went(this.#wentMs.get(node) ?? [], nowMs));
    for (const [node, wentMs] of this.#wentMs) {
      if (nowMs - (wentMs.at(-1) ?? -Infinity) >= holdDownMs) this.#wentMs.delete(node);
    }
    for (const [node, sinceMs] of this.#goneSinceMs) {
      const forgotten = nowMs - sinceMs > CROWD_MS && !this.#waiting.has(node);
      if (there.has(node) || forgotten) this.#goneSinceMs.delete(node);
    }
    this.#there = there;
    this.#heard = heard;
    this.#engagedMs = this.brake().active ? (this.#engagedMs ?? nowMs) : null;
  }

  /** Nodes of which something waits to be taken that somebody could take: until then they count as gone. */
  wait(nodes: ReadonlySet<NodeName>): void {
    this.#waiting = nodes;
    this.look();
  }

  gone(): { node: NodeName; sinceMs: InstantMs }[] {
    return [...this.#goneSinceMs].map(([node, sinceMs]) => ({ node, sinceMs }));
  }

  brake(): Brake {
    const known = new Set([...this.#there, ...this.#goneSinceMs.keys()]).size;
    return brake({ known, gone: this.#goneSinceMs.size });
  }

  /** From when on the next takeover may be made, and how long after it the next; null = the brake is off. */
  pace(): { nextMs: InstantMs; intervalMs: number } | null {
    const { active, intervalMs } = this.brake();
    if (!active || this.#engagedMs === null) return null;
    return { nextMs: Math.max(this.#engagedMs, this.#takeoverMs + intervalMs), intervalMs };
  }

  /** The mirror learns of this node's own takeovers later than itself. */
  noteTakeover(): void {
    this.#takeoverMs = this.#clock.now();
  }

  /** Nodes that come and go, and the words that say so. */
  unsteady(): Map<NodeName, string> {
    const nowMs = this.#clock.now();
    return new Map(
      [...this.#wentMs].flatMap(([node, wentMs]) => {
        const why = unsteadiness(wentMs, nowMs);
        return why === null ? [] : [[node, why] as const];
      }),
    );
  }

  stop(): void {
    this.#stopListening();
  }
}

/** It changed hands without having been released. */
function isTakeover({ before, after }: Change<'owners'>): boolean {
  if (!before || !after || before.value.released !== null || after.value.released !== null) return false;
  return before.value.node !== after.value.node;
}
