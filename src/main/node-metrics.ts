import type { Metrics } from '../platform/metrics.ts';
import type { Admin } from '../ports/admin.ts';

interface Measured {
  admin: Pick<Admin, 'ready' | 'node' | 'nodes' | 'instances' | 'promises'>;
  eventBacklog: () => { waiting: number; dropped: number };
}

/** Figures read at each scrape, for what is cheaper to read than to keep. */
export function nodeMetrics(metrics: Metrics, { admin, eventBacklog }: Measured): void {
  metrics.gauge('hop3_ready', 'Whether this node is in step with the store and has a session', [], set => {
    set(admin.ready().ready ? 1 : 0);
  });
  metrics.gauge('hop3_nodes', 'Nodes with a session, as this node sees them', [], set => {
    set(admin.nodes().items.filter(({ state }) => state === 'Active').length);
  });
  metrics.gauge(
    'hop3_events_waiting',
    'Events of this node that are not written to the ledger yet',
    [],
    set => {
      set(eventBacklog().waiting);
    },
  );
  metrics.gauge(
    'hop3_events_dropped',
    'Events of this node that will never be written, since its start: too many came while the store was away',
    [],
    set => set(eventBacklog().dropped),
  );
  metrics.gauge(
    'hop3_node_instances',
    'Instances this node has, by app and state; as it has told the others',
    ['app', 'state'],
    set => {
      const counts = new Map<string, { app: string; state: string; count: number }>();
      for (const { app, state } of admin.instances({ node: admin.node().name }).items) {
        const entry = counts.get(`${app} ${state}`) ?? { app, state, count: 0 };
        counts.set(`${app} ${state}`, { ...entry, count: entry.count + 1 });
      }
      for (const { app, state, count } of counts.values()) set(count, { app, state });
    },
  );
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
