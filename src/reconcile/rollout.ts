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

export interface Turn {
  allowed: boolean;
  waitsFor: string | null;
  /** Whether its old copy has to be gone before the new one starts. */
  stopFirst: boolean;
}

/**
 * Whether it is this instance's turn to be replaced. Instances of a process type are replaced in index order: the first
 * `max-surge` of those that are left get a second copy beside the old one, the next `max-unavailable` are stopped first,
 * as long as no more than that are not ready. So at no time are there more than scale + surge copies, nor, but for what
 * fails, fewer than scale − unavailable ready ones; a version that never becomes ready stops it at the first ones. What
 * is not ready is no loss, and never waits. An instance of which nobody says anything holds up no other.
 */
export function mayReplace(
  self: Outdated,
  deploy: DeploySpec,
  scale: number,
  running: RunningElsewhere[],
): Turn {
  const { surge, unavailable } = bounds(deploy, scale);
  const siblings = siblingsOf(self, running);
  if (siblings.some(isSelf) && !siblings.some(other => isSelf(other) && other.ready))
    return { allowed: true, waitsFor: null, stopFirst: surge === 0 };
  const before = notYetReplaced(self, siblings);
  if (before.length < surge) return { allowed: true, waitsFor: null, stopFirst: false };
  const first = before[0];
  const { app } = parseInstanceId(self.instance);
  if (before.length >= surge + unavailable) {
    return {
      allowed: false,
      waitsFor: `${app}/${self.process}/${first ?? 0} is not ready at version ${self.version} yet (${surge + unavailable} of ${scale} at a time)`,
      stopFirst: false,
    };
  }
  const unready = notReady(self, siblings);
  if (unready.length < unavailable) return { allowed: true, waitsFor: null, stopFirst: true };
  return {
    allowed: false,
    waitsFor: `${app}/${self.process}/${unready[0] ?? 0} is not ready (at most ${unavailable} of ${scale} may not be)`,
    stopFirst: false,
  };

  function isSelf(other: RunningElsewhere): boolean {
    return other.index === self.index;
  }
}

/** The same where no second copy can stand beside the first, as they would share a fixed port: old before new. */
export function oldBeforeNew(deploy: DeploySpec): DeploySpec {
  const strategy = deploy.strategy === 'blue-green' ? 'rolling' : deploy.strategy;
  return { ...deploy, strategy, maxSurge: 0 };
}

function siblingsOf({ instance, process }: Outdated, running: RunningElsewhere[]): RunningElsewhere[] {
  const { app } = parseInstanceId(instance);
  return running.filter(other => other.process === process && parseInstanceId(other.instance).app === app);
}

/** The lower indexes that run, and of which no copy is ready at the new version, in order. */
function notYetReplaced(self: Outdated, siblings: RunningElsewhere[]): number[] {
  const lower = siblings.filter(other => other.index < self.index);
  const done = lower.filter(other => other.ready && other.version === self.version);
  return without(lower, done);
}

/** The other indexes that run, and of which no copy is ready. */
function notReady(self: Outdated, siblings: RunningElsewhere[]): number[] {
  const others = siblings.filter(other => other.index !== self.index);
  return without(
    others,
    others.filter(other => other.ready),
  );
}

function without(all: RunningElsewhere[], some: RunningElsewhere[]): number[] {
  const out = new Set(some.map(({ index }) => index));
  return [...new Set(all.map(({ index }) => index))].filter(index => !out.has(index)).sort((a, b) => a - b);
}

function bounds(deploy: DeploySpec, scale: number): { surge: number; unavailable: number } {
  const { maxSurge, maxUnavailable } = deploy;
  switch (deploy.strategy) {
    case 'rolling':
    case 'canary':
      return { surge: maxSurge, unavailable: maxSurge > 0 ? maxUnavailable : Math.max(1, maxUnavailable) };
    case 'blue-green':
      return { surge: Math.max(1, scale), unavailable: 0 };
    case 'stop-deploy':
      return { surge: 0, unavailable: Math.max(1, scale) };
  }
}
