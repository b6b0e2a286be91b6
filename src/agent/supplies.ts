import type { AppSpec } from '../model/app-spec.ts';
import type { Digest, NodeName } from '../model/ids.ts';
import { completeProcesses } from '../manifest/complete-processes.ts';
import type { Clock } from '../ports/clock.ts';
import { ArtifactError, type Artifacts, type BuildNote } from '../ports/artifacts.ts';
import { holdersOf } from './wanted.ts';
import type { World } from './world.ts';
import { worldChange } from './world-change.ts';

/** What is large takes longer: it is copied meanwhile, and nobody waits for that. */
const COPIED_WITHIN_MS = 10_000;
const LOOK_EVERY_MS = 1000;
/** A node whose promises take longer than this to arrive has another problem than this one. */
const PROMISED_WITHIN_MS = 5000;

export interface SuppliesOptions {
  node: NodeName;
  world: World;
  artifacts: Artifacts;
  clock: Clock;
}

/** Gets source trees and artifacts to this node, from wherever in the cluster or outside they are. */
export class Supplies {
  readonly #options: SuppliesOptions;

  constructor(options: SuppliesOptions) {
    this.#options = options;
  }

  /** Whether it is here, or a node that can be asked says it has it. */
  async canBeHad(digest: Digest): Promise<boolean> {
    const { artifacts, world, node } = this.#options;
    return (await artifacts.has(digest)) || holdersOf(world, digest, node).length > 0;
  }

  /** Fetches it from a peer if need be. @throws ArtifactError when nobody has it, or nobody who has it answers */
  async bring(digest: Digest, signal: AbortSignal): Promise<void> {
    const { artifacts, world, node } = this.#options;
    if (!(await artifacts.has(digest))) await artifacts.fetch(digest, holdersOf(world, digest, node), signal);
  }

  /** Resolves once the others can know that this node holds it; after a while in any case. */
  async promised(digest: Digest, signal: AbortSignal): Promise<void> {
    const { world, node, clock } = this.#options;
    const seen = (): boolean => world.promises.get(`${node}/holding:${digest}`) !== undefined;
    const arrived = new AbortController();
    const stop = world.onChange(['promises'], () => {
      if (seen()) arrived.abort();
    });
    if (!seen()) await clock.sleep(PROMISED_WITHIN_MS, AbortSignal.any([signal, arrived.signal]));
    stop();
  }

  /** Another node that holds it, once there is one; null = there is none that could, or it takes too long. */
  async copied(digest: Digest, signal: AbortSignal): Promise<NodeName | null> {
    const { world, node, clock } = this.#options;
    const lastMs = clock.now() + COPIED_WITHIN_MS;
    for (;;) {
      signal.throwIfAborted();
      const [holder] = holdersOf(world, digest, node);
      if (holder) return holder.node;
      const others = [...world.nodes().values()].some(
        ({ value }) => value.node !== node && value.roles.includes('apps'),
      );
      if (!others || clock.now() >= lastMs) return null;
      await worldChange(this.#options, ['promises', 'sessions'], LOOK_EVERY_MS, signal);
    }
  }

  /**
   * The source tree of a spec, here: `known`, if that is what it was last time and somebody still has it; else as the
   * spec says. @throws ArtifactError
   */
  async source(
    spec: AppSpec,
    known: Digest | undefined,
    note: (note: BuildNote) => void,
    signal: AbortSignal,
  ): Promise<Digest> {
    const digest = spec.source?.kind === 'uploaded' ? spec.source.digest : known;
    if (digest === undefined || !(await this.canBeHad(digest))) {
      return this.#options.artifacts.obtain(spec, note, signal);
    }
    await this.bring(digest, signal);
    return digest;
  }

  /** The spec with the process its source suggests. @throws ArtifactError when it suggests none, and nothing else is to be run */
  async complete(spec: AppSpec, source: Digest): Promise<AppSpec> {
    if (spec.processes.length > 0) return spec;
    const completed = completeProcesses(spec, await this.#options.artifacts.inspect(source));
    if (completed.processes.length > 0 || spec.crons.length > 0) return completed;
    const message =
      'there is nothing to run: the manifest names no process, and none is recognised in the source; ' +
      'give run.start, run.workers or build.static-dir';
    throw new ArtifactError(message, { retryable: false });
  }
}
