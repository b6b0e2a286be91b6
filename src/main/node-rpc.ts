import type { Agent } from '../agent/agent.ts';
import { outputOf } from '../drivers/step-output.ts';
import type { NodeConfig } from '../model/node-config.ts';
import type { Metrics } from '../platform/metrics.ts';
import type { Blobs } from '../ports/blobs.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { PlanFeeds } from '../ports/plan-feeds.ts';
import type { Random } from '../ports/random.ts';
import type { StepAgentRoster } from '../ports/step-agents.ts';
import { startRpc, type RpcServer } from '../rpc/server.ts';
import { rpcMeter } from './metered.ts';

interface RpcParts {
  agent: Agent;
  feeds: PlanFeeds;
  blobs: Blobs;
  roster: StepAgentRoster;
  metrics: Metrics;
  clock: Clock;
  random: Random;
  log: Log;
}

/** gRPC of this node, started as `listening` says; null = its configuration wants none. */
export async function nodeRpc(
  { name, rpc }: NodeConfig,
  { agent, feeds, blobs, roster, metrics, clock, random, log }: RpcParts,
  listening: (listen: () => Promise<RpcServer>) => Promise<RpcServer>,
): Promise<RpcServer | null> {
  if (rpc === null) return null;
  const server = await listening(() =>
    startRpc({
      node: name,
      listen: rpc,
      tokens: rpc.tokens,
      plans: agent.plans,
      feeds,
      blobs,
      roster,
      keepOutput: content => outputOf(content, blobs),
      ready: () => agent.admin.ready().ready,
      clock,
      random,
      log,
      meter: rpcMeter(metrics),
    }),
  );
  metrics.gauge('hop3_rpc_workers', 'Workers that are connected to this node, or waited for', [], set => {
    set(server.workers());
  });
  return server;
}
