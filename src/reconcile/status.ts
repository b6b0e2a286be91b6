import type { InstanceState } from '../model/node-promise.ts';
import type { Action, DesiredInstance, InstanceStatus, Unit } from '../model/reconciliation.ts';
import type { Copies } from './copies.ts';
import type { StartAgain } from './restart.ts';

/** What the node says of an instance, given its copies and what was just decided about it. */
export function statusOf(
  desired: DesiredInstance,
  copies: Copies,
  again: StartAgain,
  actions: Action[],
): InstanceStatus {
  const waiting = copies.current.find(unit => unit !== copies.serving && unit.phase.kind === 'ready');
  const standsBy = desired.serves !== undefined && desired.serves !== 'now' && waiting !== undefined;
  return {
    ...mainStatus(desired, copies, again, actions),
    ...(again.kind === 'never' ? { givenUp: desired.version } : {}),
    ...(standsBy
      ? { standby: { release: waiting.release, version: waiting.version, endpoint: waiting.endpoint } }
      : {}),
  };
}

function mainStatus(
  desired: DesiredInstance,
  copies: Copies,
  again: StartAgain,
  actions: Action[],
): InstanceStatus {
  const { serving, current, outdated, leaving } = copies;
  const trouble = again.kind === 'now' ? null : again.trouble;
  const retiring = serving !== null && isRetired(serving, actions);
  if (serving !== null && !retiring) {
    const isCurrent = serving.version === desired.version;
    return statusOfCopy(desired, serving, 'running', isCurrent ? null : replacing(desired, serving, trouble));
  }
  const alive = [...current, ...outdated].find(unit => !isRetired(unit, actions));
  if (alive?.phase.kind === 'unhealthy') {
    return statusOfCopy(desired, alive, 'unhealthy', alive.phase.evidence);
  }
  const standsBy = desired.serves === 'not-yet' && alive?.phase.kind === 'ready';
  if (alive) return statusOfCopy(desired, alive, standsBy ? 'standby' : 'starting', refusalOf(alive));
  if (actions.some(action => action.kind === 'start')) return statusWithout(desired, 'starting', null);
  const going = retiring ? serving : (leaving.find(unit => unit.phase.kind === 'draining') ?? leaving[0]);
  if (going) return statusOfCopy(desired, going, 'stopping', trouble);
  if (copies.sick[0]) return statusOfCopy(desired, copies.sick[0].unit, 'stopping', copies.sick[0].trouble);
  if (again.kind === 'never') return statusWithout(desired, 'failed', trouble);
  if (!desired.mayStart) return statusWithout(desired, 'pending', desired.waitingFor);
  return statusWithout(desired, again.kind === 'wait' ? 'backoff' : 'pending', trouble);
}

function refusalOf({ phase }: Unit): string | null {
  if (phase.kind !== 'starting' || phase.refusal === undefined) return null;
  return `it answers, but not as its health check wants: ${phase.refusal}`;
}

/** Of an instance that is on its way out: what still runs of it finishes its requests and gets no new ones. */
export function leavingStatus(
  instance: { instance: string; subject: string },
  unit: Unit,
  reason: string,
): InstanceStatus {
  return copyStatus(instance, unit, 'stopping', reason);
}

function statusOfCopy(
  desired: DesiredInstance,
  unit: Unit,
  state: InstanceState,
  trouble: string | null,
): InstanceStatus {
  return copyStatus(desired, unit, state, trouble);
}

function copyStatus(
  instance: { instance: string; subject: string },
  unit: Unit,
  state: InstanceState,
  trouble: string | null,
): InstanceStatus {
  return {
    instance: instance.instance,
    subject: instance.subject,
    state,
    release: unit.release,
    version: unit.version,
    endpoint: unit.endpoint,
    ready: state === 'running',
    pid: unit.pid,
    trouble,
  };
}

function statusWithout(
  desired: DesiredInstance,
  state: InstanceState,
  trouble: string | null,
): InstanceStatus {
  return {
    instance: desired.instance,
    subject: desired.subject,
    state,
    release: desired.release,
    version: desired.version,
    endpoint: null,
    ready: false,
    pid: null,
    trouble,
  };
}

function replacing(desired: DesiredInstance, serving: Unit, trouble: string | null): string | null {
  return trouble === null
    ? null
    : `version ${serving.version} goes on instead of ${desired.version}: ${trouble}`;
}

function isRetired(unit: Unit, actions: Action[]): boolean {
  return actions.some(
    action => (action.kind === 'drain' || action.kind === 'stop') && action.unit === unit.unit,
  );
}
