import { FanOut } from '../../src/agent/plans/fan-out.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { SharedPace } from '../../src/platform/pace.ts';
import type { PlanFeeds } from '../../src/ports/plan-feeds.ts';
import type { Plans } from '../../src/ports/plans.ts';

/** The real ones, of whatever plans. */
export function planFeeds(plans: Pick<Plans, 'watch'>): FanOut {
  return new FanOut({ plans, pace: new SharedPace(systemClock()) });
}

/** Tells every change by itself, and nobody shares anything. */
export function eachChange(plans: Pick<Plans, 'watch'>): PlanFeeds {
  return {
    watchers: 0,
    async watch(plan, from, tell, signal) {
      const after = from === null ? null : String(from - 1n);
      for await (const event of plans.watch(plan, after, signal))
        await tell({ events: [event] }, BigInt(event.revision));
    },
  };
}
