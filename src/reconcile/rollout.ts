import type { DeploySpec } from '../model/app-spec.ts';
import { parseInstanceId, type InstanceId, type ProcessType } from '../model/ids.ts';
import type { RunningElsewhere } from '../model/reconciliation.ts';

/** An instance that runs another version than it should. */
export interface Outdated {
  instance: InstanceId;
  process: ProcessType;
  index: number;
  /** The version it should run. */
  version: string;
}

/**
 * Whether it is this instance's turn to be replaced. Instances of a process type are replaced in index order, a few
 * at a time: a version that never becomes ready stops the rollout at the first ones. An instance of which nobody says
 * anything is not being replaced and holds up no other.
 */
export function mayReplace(
  self: Outdated,
  deploy: DeploySpec,
  scale: number,
  running: RunningElsewhere[],
): { allowed: boolean; waitsFor: string | null } {
  const before = notYetReplaced(self, running);
  const atOnce = countAtOnce(deploy, scale, before.has(0));
  const first = before.values().next();
  if (before.size < atOnce || first.done) return { allowed: true, waitsFor: null };
  const { app } = parseInstanceId(self.instance);
  return {
    allowed: false,
    waitsFor: `${app}/${self.process}/${first.value} is not ready at version ${self.version} yet (${atOnce} of ${scale} at a time)`,
  };
}

/** The lower indexes that run, and of which no copy is ready at the new version, in order. */
function notYetReplaced(self: Outdated, running: RunningElsewhere[]): Set<number> {
  const { app } = parseInstanceId(self.instance);
  const lower = running.filter(
    other =>
      other.process === self.process &&
      other.index < self.index &&
      parseInstanceId(other.instance).app === app,
  );
  const done = new Set(
    lower.filter(other => other.ready && other.version === self.version).map(other => other.index),
  );
  const indexes = lower.map(other => other.index).filter(index => !done.has(index));
  return new Set(indexes.sort((a, b) => a - b));
}

function countAtOnce(deploy: DeploySpec, scale: number, firstIsWaiting: boolean): number {
  const rolling = deploy.maxSurge > 0 ? deploy.maxSurge : Math.max(1, deploy.maxUnavailable);
  switch (deploy.strategy) {
    case 'rolling':
      return rolling;
    case 'canary':
      return firstIsWaiting ? 1 : rolling;
    case 'blue-green':
    case 'stop-deploy':
      return Math.max(1, scale);
  }
}
