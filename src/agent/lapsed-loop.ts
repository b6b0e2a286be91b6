import { judge } from '../assess/judge.ts';
import type { InstantMs } from '../model/ids.ts';
import type { Assessment, Verification } from '../model/node-promise.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Prober } from '../ports/prober.ts';
import type { Beats } from './beats.ts';
import { footing } from './footing.ts';
import type { Lapsed, LapsedPromise } from './lapsed.ts';
import { Loop } from './loop.ts';
import { publishAssessments, type PublishOptions } from './publish-assessments.ts';
import type { SessionKeeper } from './session-keeper.ts';

/** Claimants wait for the verdict: an answer that takes longer than this is as good as none. */
const PROBE_SECONDS = 1;
/** Nobody but its observers looks after it now. */
const EVERY_MS = 2000;
const AGAIN_MS = 200;

export interface LapsedLoopOptions extends PublishOptions {
  keeper: SessionKeeper;
  prober: Prober;
  beats: Beats;
  lapsed: Lapsed;
  clock: Clock;
  log: Log;
}

interface Plan {
  nextMs: InstantMs;
  consecutiveBad: number;
}

/**
 * Goes on asking what was promised by nodes whose session is gone, and says whether it answers (design 5, rule 12). A loop
 * of its own: claimants wait for what it says, and no slow answer of another node shall keep it.
 */
export function lapsedLoop(options: LapsedLoopOptions): Loop {
  const { world, keeper, clock, log, lapsed } = options;
  const plans = new Map<string, Plan>();

  return new Loop({
    name: 'lapsed',
    clock,
    log,
    everyMs: EVERY_MS,
    round: async signal => {
      if (!world.synced()) return 500;
      const found = lapsed.look();
      const session = keeper.current();
      if (!session) return 500;
      const names = new Set(found.map(({ name }) => name));
      for (const name of plans.keys()) if (!names.has(name)) plans.delete(name);
      const due = found.filter(({ name }) => (plans.get(name)?.nextMs ?? 0) <= clock.now());
      const judged = await Promise.all(due.map(promise => check(options, promise, plans, signal)));
      if (signal.aborted) return null;
      await publishAssessments(
        options,
        session,
        // Who is back speaks for itself.
        judged.filter(said => said !== null).filter(said => !world.nodes().has(said.promiser)),
        null,
      );
      const nextMs = Math.min(...[...plans.values()].map(plan => plan.nextMs));
      return Number.isFinite(nextMs) ? Math.max(20, nextMs - clock.now()) : null;
    },
  });
}

async function check(
  options: LapsedLoopOptions,
  { name, promise }: LapsedPromise,
  plans: Map<string, Plan>,
  signal: AbortSignal,
): Promise<Assessment | null> {
  const { prober, beats, world, clock, node } = options;
  const asked = promise.verify.method === 'lease' ? null : hastily(promise.verify);
  const probe = asked ? await prober.probe(asked, { strict: true, signal }) : null;
  const bad = probe !== null && probe.verdict !== 'good';
  const consecutiveBad = bad ? (plans.get(name)?.consecutiveBad ?? 0) + 1 : 0;
  plans.set(name, { nextMs: clock.now() + (consecutiveBad === 1 ? AGAIN_MS : EVERY_MS), consecutiveBad });
  return judge({
    assessor: node,
    promise,
    lapsed: true,
    probe,
    previous: world.assessments.get(`${name}/${node}`)?.value.assessment,
    footing: footing(options, probe),
    consecutiveBad,
    silentMs: beats.silentMs(promise.promiser),
    at: clock.timestamp(),
  });
}

function hastily(verification: Exclude<Verification, { method: 'lease' }>): Verification {
  return { ...verification, timeoutSeconds: Math.min(PROBE_SECONDS, verification.timeoutSeconds) };
}
