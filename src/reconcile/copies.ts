import { portsOf } from '../model/app-spec.ts';
import type { InstantMs } from '../model/ids.ts';
import type { DesiredInstance, Unit } from '../model/reconciliation.ts';

/** The copies of one desired instance, by what can be done with them. */
export interface Copies {
  /** Gets the requests: ready, of the wanted version if there is one, else of the one before, the newest of them. */
  serving: Unit | null;
  /** Alive, of the wanted version, newest first. */
  current: Unit[];
  /** Alive, of another version, newest first. */
  outdated: Unit[];
  /** Alive but of no use: too slow to start, hung, or passed over; to be stopped. */
  sick: { unit: Unit; trouble: string }[];
  /** Draining or stopping. */
  leaving: Unit[];
  exited: Unit[];
}

export function sortCopies(desired: DesiredInstance, units: Unit[], nowMs: InstantMs): Copies {
  const newestFirst = [...units].sort(byAge);
  const copies: Copies = {
    serving: null,
    current: [],
    outdated: [],
    sick: [],
    leaving: [],
    exited: [],
  };
  for (const unit of newestFirst) {
    const trouble = sickness(unit, desired, nowMs);
    if (unit.phase.kind === 'exited') copies.exited.push(unit);
    else if (unit.phase.kind === 'draining' || unit.phase.kind === 'stopping') copies.leaving.push(unit);
    else if (trouble !== null) copies.sick.push({ unit, trouble });
    else if (unit.version === desired.version) copies.current.push(unit);
    else copies.outdated.push(unit);
  }
  const answers = (unit: Unit) => isAnswering(unit, desired);
  const current = copies.current.find(answers) ?? null;
  const outdated = copies.outdated.filter(answers);
  // A newer one may have stood ready beside it, and never been let take over.
  const old = outdated.find(({ version }) => version === desired.before) ?? outdated[0] ?? null;
  copies.serving = first(desired.serves ?? 'now', current, old);
  return copies;
}

function first(
  serves: NonNullable<DesiredInstance['serves']>,
  current: Unit | null,
  outdated: Unit | null,
): Unit | null {
  switch (serves) {
    case 'now':
      return current ?? outdated;
    case 'after-old':
      return outdated ?? current;
    case 'not-yet':
      return outdated;
  }
}

/** Ready, or failing its health check for less than the threshold: one bad answer takes nothing out of traffic. */
function isAnswering(unit: Unit, desired: DesiredInstance): boolean {
  if (unit.phase.kind === 'ready') return true;
  return unit.phase.kind === 'unhealthy' && unit.phase.failures < desired.spec.healthcheck.failureThreshold;
}

/** Whether the old copy has to be gone before the new one starts. */
export function isSerial(desired: DesiredInstance): boolean {
  const { spec, process } = desired;
  return (
    process.exclusive ||
    desired.stopFirst === true ||
    spec.deploy.strategy === 'stop-deploy' ||
    spec.deploy.maxSurge === 0 ||
    portsOf(spec, process.type).length > 0 ||
    spec.volumes.length > 0
  );
}

/** When a starting copy will have been too slow; null for others. */
export function startDueMs(unit: Unit, desired: DesiredInstance): InstantMs | null {
  return unit.phase.kind === 'starting' ? unit.startedMs + desired.process.startTimeoutSeconds * 1000 : null;
}

function sickness(unit: Unit, desired: DesiredInstance, nowMs: InstantMs): string | null {
  if (unit.version !== desired.version && desired.passedOver?.includes(unit.release) === true) {
    return `version ${unit.version} stood ready for requests, and is to get none any more`;
  }
  const dueMs = startDueMs(unit, desired);
  if (dueMs !== null && dueMs <= nowMs) {
    return `version ${unit.version} was not ready within ${desired.process.startTimeoutSeconds} s of its start (alive, but no good answer: slow, not crashing)`;
  }
  if (unit.phase.kind === 'unhealthy' && !isAnswering(unit, desired)) {
    // What would not be started again is left as it is: hung, and said so.
    if (desired.spec.restart.policy === 'never' || !desired.mayStart) return null;
    return `version ${unit.version} hangs: it failed its health check ${desired.spec.healthcheck.failureThreshold} times in a row: ${unit.phase.evidence}`;
  }
  return null;
}

function byAge(a: Unit, b: Unit): number {
  if (a.startedMs !== b.startedMs) return b.startedMs - a.startedMs;
  return a.unit < b.unit ? 1 : -1;
}
