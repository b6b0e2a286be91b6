import type { InstantMs } from '../model/ids.ts';
import type { Action, Unit } from '../model/reconciliation.ts';

/** Used when the spec that said otherwise is gone. */
export const defaultGraceSeconds = 10;

export interface Retirement {
  /** Whether anybody may be sending it requests. */
  inTraffic: boolean;
  graceSeconds: number;
  drainMs: number;
  nowMs: InstantMs;
  reason: string;
}

/** The next step of taking one copy away: out of traffic, then stopped, then forgotten. */
export function retire(unit: Unit, how: Retirement): { action: Action | null; dueMs: InstantMs | null } {
  const stop: Action = {
    kind: 'stop',
    unit: unit.unit,
    graceSeconds: how.graceSeconds,
    reason: how.reason,
  };
  switch (unit.phase.kind) {
    case 'starting':
      return { action: stop, dueMs: null };
    case 'ready':
    case 'unhealthy':
      if (!how.inTraffic || unit.endpoint === null) return { action: stop, dueMs: null };
      return {
        action: { kind: 'drain', unit: unit.unit, reason: how.reason },
        dueMs: how.nowMs + how.drainMs,
      };
    case 'draining': {
      const dueMs = unit.phase.sinceMs + how.drainMs;
      return dueMs <= how.nowMs ? { action: stop, dueMs: null } : { action: null, dueMs };
    }
    case 'stopping':
      return { action: null, dueMs: null };
    case 'exited':
      return { action: { kind: 'forget', unit: unit.unit, reason: 'it has ended' }, dueMs: null };
  }
}
