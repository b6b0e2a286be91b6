import type { InstantMs } from '../model/ids.ts';

/**
 * Outlives the agent: a frozen, killed or wedged agent can stop nothing, so something else kills the exclusive processes
 * of its node when its right to run them ends (ownership rule 6). Without an armed guard nothing exclusive is started.
 */
export interface Guard {
  /** Why exclusive processes can't be guarded on this machine; null = they can. Asked anew only where that may have changed. */
  unable(): Promise<string | null>;
  /**
   * Everything exclusive of this node is killed at `deadlineMs` (boot clock), unless it is armed again before; at once when
   * that has passed. Resolves once a later deadline than before is known to be in force; an earlier one is within a second.
   * @throws GuardError: then what was in force before still is
   */
  arm(deadlineMs: InstantMs): Promise<void>;
  /** Until when it is armed, also by an agent before this one; null = it is not. */
  armedUntilMs(): InstantMs | null;
  /**
   * Gives the arming up, when nothing exclusive should run any more: as with a deadline that has passed, whatever does
   * all the same is killed within a second. @throws GuardError
   */
  disarm(): Promise<void>;
}

export class GuardError extends Error {
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.name = 'GuardError';
  }
}
