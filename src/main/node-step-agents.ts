import { mkdir } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { OWN_STEP_AGENTS } from '../agent/agent.ts';
import { httpPool } from '../drivers/http-exchange.ts';
import { stepAgents } from '../drivers/step-agents.ts';
import { commandAgent, removeStepFiles } from '../drivers/step-command.ts';
import { httpAgent } from '../drivers/step-http.ts';
import { noopAgent } from '../drivers/step-noop.ts';
import { stepProcesses } from '../drivers/step-processes.ts';
import type { NodeConfig } from '../model/node-config.ts';
import type { Blobs } from '../ports/blobs.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { AppPlaces, StepAgent, StepAgentRoster } from '../ports/step-agents.ts';

/**
 * What this node does steps of plans by. Another kind of its own is added here. Commands that an agent before this one left are
 * dead when it resolves.
 */
export async function nodeStepAgents(parts: {
  config: Pick<NodeConfig, 'stateDir' | 'plans'>;
  /** Whether PID namespaces can be had. */
  namespaces: boolean;
  apps: AppPlaces;
  blobs: Blobs;
  clock: Clock;
  log: Log;
}): Promise<{ roster: StepAgentRoster; close(): Promise<void> }> {
  const { config, namespaces, apps, blobs, clock, log } = parts;
  const { stateDir, plans } = config;
  const directory = join(stateDir, 'steps');
  const processes = stepProcesses({ directory, namespaces, clock, log });
  await processes.clear();
  await removeStepFiles(directory);
  await mkdir(directory, { recursive: true, mode: 0o711 });
  const pool = httpPool();
  const own: StepAgent[] = [noopAgent({ clock, blobs }), httpAgent({ pool, blobs, clock })];
  if (plans.commands !== 'none') {
    const { commands } = plans;
    const user = userInfo().username;
    own.push(commandAgent({ commands, directory, user, processes, apps, blobs, clock }));
  }
  return { roster: stepAgents(own, { blobs, reserved: OWN_STEP_AGENTS }), close: () => pool.close() };
}
