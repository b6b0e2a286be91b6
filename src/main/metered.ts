import type { StaleUse } from '../agent/stale-tokens.ts';
import type { RequestInfo } from '../api/server.ts';
import type { Metrics } from '../platform/metrics.ts';
import type { Clock } from '../ports/clock.ts';
import type { Driver } from '../ports/driver.ts';
import type { Prober } from '../ports/prober.ts';
import type { StepAgent, StepAgentRoster } from '../ports/step-agents.ts';
import type { RpcMeter } from '../rpc/server.ts';
import { StoreError, type Store, type Write } from '../ports/store.ts';

/** Ports that count what goes through them, so that nobody behind or before them has to. */

/** Counts the requests of the admin API, for its `onRequest`. */
export function requestMeter(metrics: Metrics): (info: RequestInfo) => void {
  const requests = metrics.counter(
    'hop3_http_requests_total',
    'Requests answered by the admin API, by method, route (as in /openapi.json, or "unmatched") and status',
    ['method', 'route', 'status'],
  );
  const durations = metrics.histogram(
    'hop3_http_request_duration_seconds',
    "Until the head of the admin API's answer; what a stream sends later is not counted",
    ['method', 'route'],
  );
  return ({ method, route, status, durationMs }) => {
    requests.add(1, { method, route, status });
    durations.observe(durationMs / 1000, { method, route });
  };
}

/** Counts what an agent refuses because of a stale token, for its `onStaleToken`. All uses are there from the start. */
export function staleTokenMeter(metrics: Metrics): (use: StaleUse) => void {
  const refused = metrics.counter(
    'hop3_stale_tokens_refused_total',
    'Refused by this agent because its fencing token is not in force any more: request (to go on with a name), release, state (of a name), route (a copy that the proxy sends nothing to)',
    ['use'],
  );
  for (const use of ['request', 'release', 'state', 'route'] satisfies StaleUse[]) refused.add(0, { use });
  return use => refused.add(1, { use });
}

/** Counts the calls of gRPC, and what workers were told of their results. */
export function rpcMeter(metrics: Metrics): RpcMeter {
  const calls = metrics.counter(
    'hop3_rpc_calls_total',
    'Calls of gRPC that have ended, by method and status',
    ['method', 'code'],
  );
  const results = metrics.counter(
    'hop3_rpc_worker_results_total',
    'Results that connected workers sent, by what they were told: accepted, stale, invalid, or not-kept',
    ['verdict'],
  );
  return {
    onCall: ({ method, code }) => calls.add(1, { method, code }),
    onResult: verdict => results.add(1, { verdict }),
  };
}

export function meteredStore(store: Store, metrics: Metrics, clock: Clock): Store {
  const commits = metrics.counter(
    'hop3_store_commits_total',
    'Transactions of this agent: committed, refused (a guard did not hold), rejected (by etcd), not-sent, or unknown (may have been applied)',
    ['outcome'],
  );
  const durations = metrics.histogram(
    'hop3_store_commit_duration_seconds',
    'Until a transaction was answered',
  );
  const events = metrics.counter(
    'hop3_events_written_total',
    'Events this node wrote to the ledger, by kind',
    ['kind'],
  );
  const renewals = metrics.counter('hop3_session_renewals_total', "Renewals of this node's session");
  const opened = metrics.counter('hop3_session_opened_total', 'Sessions opened or resumed by this agent', [
    'resumed',
  ]);
  let renewedMs: number | null = null;
  let closing: Promise<void> | null = null;
  metrics.gauge(
    'hop3_session_renewal_age_seconds',
    "Since this node's session was last renewed or opened; absent before the first",
    [],
    set => {
      if (renewedMs !== null) set((clock.now() - renewedMs) / 1000);
    },
  );

  return {
    mirror: (kind, prefix) => store.mirror(kind, prefix),
    get: (kind, name) => store.get(kind, name),
    seen: () => store.seen(),
    startFrom: seen => store.startFrom(seen),
    list: (kind, options) => store.list(kind, options),
    grant: ttlSeconds => store.grant(ttlSeconds),
    describe: () => store.describe(),
    close: () => (closing ??= store.close()),
    async commit(compares, writes) {
      const startedMs = clock.now();
      try {
        const result = await store.commit(compares, writes);
        commits.add(1, { outcome: result.kind });
        if (result.kind === 'committed') for (const kind of kindsOfEvents(writes)) events.add(1, { kind });
        return result;
      } catch (error) {
        const outcome = error instanceof StoreError ? error.outcome : 'unknown';
        commits.add(1, { outcome: outcome === 'refused' ? 'rejected' : outcome });
        throw error;
      } finally {
        durations.observe((clock.now() - startedMs) / 1000);
      }
    },
    async openSession(options) {
      const session = await store.openSession(options);
      opened.add(1, { resumed: String(session.resumed) });
      renewedMs = clock.now();
      session.onRenewed(() => {
        renewedMs = clock.now();
        renewals.add();
      });
      return session;
    },
  };
}

function kindsOfEvents(writes: Write[]): string[] {
  return writes.flatMap(write => ('put' in write && write.put === 'events' ? [write.value.kind] : []));
}

export function meteredProber(prober: Prober, metrics: Metrics): Prober {
  const probes = metrics.counter(
    'hop3_probes_total',
    'Questions asked of instances, for health checks and for the assessment of promises, by verdict',
    ['method', 'verdict'],
  );
  return {
    async probe(verification, options) {
      const result = await prober.probe(verification, options);
      // A lease is not asked for: it stands or it does not.
      if (verification.method !== 'lease') {
        probes.add(1, { method: verification.method, verdict: result.verdict });
      }
      return result;
    },
  };
}

export function meteredDriver(driver: Driver, metrics: Metrics): Driver {
  const starts = metrics.counter(
    'hop3_instance_starts_total',
    'Copies of instances started on this node, by app; restarts and replacements are starts, too',
    ['app', 'outcome'],
  );
  return {
    async start(launch) {
      const app = launch.instance.slice(0, launch.instance.indexOf('/'));
      try {
        const unit = await driver.start(launch);
        starts.add(1, { app, outcome: 'started' });
        return unit;
      } catch (error) {
        starts.add(1, { app, outcome: 'failed' });
        throw error;
      }
    },
    observe: () => driver.observe(),
    stop: (unit, graceSeconds) => driver.stop(unit, graceSeconds),
    fence: (unit, token) => driver.fence(unit, token),
    forget: unit => driver.forget(unit),
    onExit: listener => driver.onExit(listener),
    output: (instance, options) => driver.output(instance, options),
    close: () => driver.close(),
  };
}

export function meteredStepAgents(roster: StepAgentRoster, metrics: Metrics, clock: Clock): StepAgentRoster {
  const attempts = metrics.counter(
    'hop3_step_attempts_total',
    'Attempts at steps of plans that this node made, by agent and what the agent said: completed, retryable, fatal, stopped',
    ['agent', 'outcome'],
  );
  const durations = metrics.histogram(
    'hop3_step_attempt_duration_seconds',
    'Until the agent said what had become of an attempt',
    ['agent'],
  );
  const metered = (agent: StepAgent): StepAgent => ({
    ...agent,
    async run(task, signal) {
      const startedMs = clock.now();
      const result = await agent.run(task, signal);
      const outcome = result.kind === 'failed' ? result.type.toLowerCase() : result.kind;
      attempts.add(1, { agent: agent.name, outcome });
      durations.observe((clock.now() - startedMs) / 1000, { agent: agent.name });
      return result;
    },
  });
  return {
    find(name) {
      const agent = roster.find(name);
      return agent && metered(agent);
    },
    names: () => roster.names(),
    room: name => roster.room(name),
    onChange: listener => roster.onChange(listener),
    add: (agent, room) => roster.add(agent, room),
  };
}
