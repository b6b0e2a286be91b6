import type { Metrics } from '../platform/metrics.ts';
import type { Admin } from '../ports/admin.ts';

/** Figures read from the admin service at each scrape. */
export function nodeMetrics(metrics: Metrics, admin: Admin): void {
  metrics.gauge(
    'hop3_session_remaining_seconds',
    "Until the deadline of this node's session; 0 = none",
    [],
    set => {
      set((admin.node().remainingMs ?? 0) / 1000);
    },
  );
  metrics.gauge('hop3_node_state', 'Of the node machine: 1 for the state this node is in', ['state'], set => {
    for (const state of ['Inactive', 'Active', 'ConnectionLost'])
      set(admin.node().state === state ? 1 : 0, { state });
  });
  metrics.gauge('hop3_instances', 'Instances of the whole cluster as this node sees them', ['state'], set => {
    const counts = new Map<string, number>();
    for (const { state } of admin.instances({}).items) counts.set(state, (counts.get(state) ?? 0) + 1);
    for (const [state, count] of counts) set(count, { state });
  });
  metrics.gauge('hop3_promises', 'Promises that stand, by outcome', ['outcome'], set => {
    const counts = new Map<string, number>();
    for (const { outcome } of admin.promises({}).items) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
    for (const [outcome, count] of counts) set(count, { outcome });
  });
}
