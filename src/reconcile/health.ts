import type { InstantMs } from '../model/ids.ts';
import type { Unit, UnitPhase } from '../model/reconciliation.ts';

/**
 * The phase of a copy after one check of its health. One good answer makes it ready; a bad one counts, but for a copy that
 * is still starting: of that the first one is kept, for people. The evidence is kept as it was when the threshold was
 * reached, so that what is said of a hung copy does not change with every check.
 */
export function afterProbe(
  unit: Unit,
  result: { good: boolean; answered?: boolean; evidence: string },
  failureThreshold: number,
  nowMs: InstantMs,
): UnitPhase {
  const { phase } = unit;
  switch (phase.kind) {
    case 'starting':
      if (result.good) return { kind: 'ready', sinceMs: nowMs };
      return result.answered === true ? { refusal: result.evidence, ...phase } : phase;
    case 'ready':
      return result.good
        ? phase
        : { kind: 'unhealthy', sinceMs: nowMs, failures: 1, evidence: result.evidence };
    case 'unhealthy': {
      if (result.good) return { kind: 'ready', sinceMs: nowMs };
      const evidence = phase.failures >= failureThreshold ? phase.evidence : result.evidence;
      return { ...phase, failures: phase.failures + 1, evidence };
    }
    case 'draining':
    case 'stopping':
    case 'exited':
      return phase;
  }
}
