import type { PlanEvent } from '../model/plan-views.ts';

/** Some changes of a plan, in order. All who are equally far are told the same object. */
export interface PlanBatch {
  readonly events: readonly PlanEvent[];
}

/**
 * Resolves when the client has taken it, or is gone. `revision`: this one may go on from there, whatever its events say of others;
 * 0 = nowhere yet, begin again.
 */
export type TellBatch = (batch: PlanBatch, revision: bigint) => Promise<void>;

/** Plans for many who watch: everybody who watches one at this node hears it from one watch of it. */
export interface PlanFeeds {
  readonly watchers: number;
  /**
   * Tells what there is, from that revision on (null = all of it), then what changes; of a thing that changed often before it could
   * be told, the last. Resolves when the plan has ended and all is told, or the signal aborts.
   * @throws AdminError (`full` too: too many watch), and whatever `tell` throws
   */
  watch(plan: string, from: bigint | null, tell: TellBatch, signal: AbortSignal): Promise<void>;
}
