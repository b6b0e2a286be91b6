import type { Agent } from '../agent/agent.ts';
import type { Metrics } from '../platform/metrics.ts';
import type { PlanFeeds } from '../ports/plan-feeds.ts';

/** What a node knows of plans and does about them, read at each scrape. */
export function planMetrics(
  metrics: Metrics,
  agent: Pick<Agent, 'planFigures'>,
  feeds: Pick<PlanFeeds, 'watchers'>,
): void {
  metrics.gauge('hop3_plan_watchers', 'Streams that watch plans at this node', [], set =>
    set(feeds.watchers),
  );
  metrics.gauge('hop3_plans', 'Plans in the store, by state, as this node sees them', ['state'], set => {
    for (const [state, count] of Object.entries(agent.planFigures().plans)) set(count, { state });
  });
  metrics.gauge(
    'hop3_plan_steps',
    'Steps of plans that have not ended, by state, as this node sees them',
    ['state'],
    set => {
      for (const [state, count] of Object.entries(agent.planFigures().steps)) set(count, { state });
    },
  );
  metrics.gauge(
    'hop3_plan_chunks_owned',
    'Chunks of plans that this node looks after: a chunk is up to 128 steps',
    [],
    set => set(agent.planFigures().owned),
  );
  metrics.gauge(
    'hop3_step_attempts_running',
    'Attempts at steps that the agents of this node work at',
    [],
    set => set(agent.planFigures().running),
  );
  const counts = {
    stale_results:
      'Results of steps that came when they no longer counted, and were refused, since the start',
    steps_ended: 'Steps that this node has brought to their end since its start',
    chunk_claims: 'Transactions with which this node took chunks of plans, since its start',
    chunk_writes: 'Transactions with which this node wrote what became of steps, since its start',
  } as const;
  const read = {
    stale_results: () => agent.planFigures().staleResults,
    steps_ended: () => agent.planFigures().ended,
    chunk_claims: () => agent.planFigures().claims,
    chunk_writes: () => agent.planFigures().writes,
  };
  for (const name of ['stale_results', 'steps_ended', 'chunk_claims', 'chunk_writes'] as const) {
    metrics.gauge(`hop3_plan_${name}`, counts[name], [], set => set(read[name]()));
  }
}
