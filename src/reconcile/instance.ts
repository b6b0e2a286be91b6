import type { InstantMs } from '../model/ids.ts';
import type { Action, DesiredInstance, InstanceStatus, StartHistory, Unit } from '../model/reconciliation.ts';
import { isSerial, sortCopies, startDueMs, type Copies } from './copies.ts';
import { afterGivenUp, forVersion } from './histories.ts';
import { startAgain, type StartAgain } from './restart.ts';
import { retire } from './retire.ts';
import { statusOf } from './status.ts';

export interface InstanceDecision {
  actions: Action[];
  status: InstanceStatus;
  history: StartHistory;
  /** Moments at which time alone changes something. */
  dueMs: InstantMs[];
}

/** What to do about one desired instance: keep one good copy of its version running, whatever is there now. */
export function reconcileInstance(
  desired: DesiredInstance,
  units: Unit[],
  known: StartHistory | undefined,
  time: { nowMs: InstantMs; drainMs: number },
): InstanceDecision {
  const copies = sortCopies(desired, units, time.nowMs);
  const history = copies.sick.reduce(
    (before, { unit, trouble }) => afterGivenUp(before, unit, trouble, time.nowMs),
    forVersion(known, desired.instance, desired.version),
  );
  const again = startAgain(history, desired.spec.restart, desired.process, time.nowMs);
  const start = startOf(desired, copies, again);
  const actions: Action[] = [];
  const dueMs: InstantMs[] = [];

  for (const { unit, reason } of goingAway(desired, copies, again)) {
    const step = retire(unit, {
      inTraffic: desired.process.routed && desired.spec.hostnames.length > 0,
      graceSeconds: desired.process.stopTimeoutSeconds,
      reason,
      ...time,
    });
    if (step.action !== null) actions.push(step.action);
    if (step.dueMs !== null) dueMs.push(step.dueMs);
  }
  // A hung copy answers nobody, so there is nothing to drain.
  for (const { unit, trouble } of copies.sick) {
    actions.push({
      kind: 'stop',
      unit: unit.unit,
      graceSeconds: desired.process.stopTimeoutSeconds,
      reason: trouble,
    });
  }
  if (start !== null) {
    actions.push(start);
    dueMs.push(time.nowMs + desired.process.startTimeoutSeconds * 1000);
  }
  if (again.kind === 'wait' && desired.mayStart && copies.current.length === 0) dueMs.push(again.untilMs);
  for (const unit of [...copies.current, ...copies.outdated]) {
    const slowMs = startDueMs(unit, desired);
    if (slowMs !== null) dueMs.push(slowMs);
  }
  return { actions, status: statusOf(desired, copies, again, actions), history, dueMs };
}

/** Every copy that is not needed any more, or is in the way of the next one. */
function goingAway(
  desired: DesiredInstance,
  copies: Copies,
  again: StartAgain,
): { unit: Unit; reason: string }[] {
  const { serving, current, outdated, leaving, exited } = copies;
  const serial = isSerial(desired);
  const going = [...exited, ...leaving].map(unit => ({ unit, reason: 'drained' }));
  const replaced = `replaced by version ${desired.version}`;
  if (serving?.version === desired.version) {
    const others = current.filter(unit => unit !== serving);
    going.push(...others.map(unit => ({ unit, reason: `${serving.unit} runs the same version` })));
    going.push(...outdated.map(unit => ({ unit, reason: replaced })));
  } else if (serial && (current.length > 0 || maySwitch(desired, again))) {
    going.push(
      ...outdated.map(unit => ({ unit, reason: `${replaced}, which starts when this has stopped` })),
    );
  } else if (serving !== null) {
    const older = outdated.filter(unit => unit !== serving);
    going.push(...older.map(unit => ({ unit, reason: `${serving.unit} serves until it is replaced` })));
  }
  return going;
}

function startOf(desired: DesiredInstance, copies: Copies, again: StartAgain): Action | null {
  const { current, outdated, sick, leaving } = copies;
  if (current.length > 0 || !desired.mayStart || again.kind !== 'now') return null;
  if (outdated.length > 0 && !desired.mayReplace) return null;
  const inTheWay = outdated.length + sick.length + leaving.length;
  if (isSerial(desired) && inTheWay > 0) return null;
  const reason = outdated[0] ? `to replace version ${outdated[0].version}` : again.reason;
  return { kind: 'start', instance: desired.instance, version: desired.version, reason };
}

/** Whether a start of the wanted version would follow at once if nothing were in its way. */
function maySwitch(desired: DesiredInstance, again: StartAgain): boolean {
  return desired.mayReplace && desired.mayStart && again.kind === 'now';
}
