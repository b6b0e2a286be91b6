import { subjectOfInstance, type InstanceId, type InstantMs } from '../model/ids.ts';
import type {
  Action,
  DesiredInstance,
  InstanceStatus,
  StartHistory,
  Unit,
  UnwantedInstance,
} from '../model/reconciliation.ts';
import { reconcileInstance } from './instance.ts';
import { defaultGraceSeconds, retire } from './retire.ts';
import { leavingStatus } from './status.ts';

export interface ReconcileInput {
  desired: DesiredInstance[];
  unwanted: UnwantedInstance[];
  units: Unit[];
  /** Each exit that `units` shows is in them already (`afterExit`). */
  histories: StartHistory[];
  nowMs: InstantMs;
  /** How long a copy finishes its requests before it is stopped. */
  drainMs: number;
}

export interface Reconciliation {
  actions: Action[];
  /** One for each desired instance, and for each unwanted one of which something still runs. */
  statuses: InstanceStatus[];
  /** To be kept in place of those given: one for each desired instance. */
  histories: StartHistory[];
  /** When time alone will change something; null = not before something else happens. */
  wakeInMs: number | null;
}

/**
 * What this node should do so that exactly what it owns runs. Level-triggered: it looks at everything, and
 * repeating it before its actions took effect is harmless as long as a copy told to stop has the phase `stopping`.
 */
export function reconcile(input: ReconcileInput): Reconciliation {
  const { nowMs, drainMs } = input;
  const unitsOf = byInstance(input.units);
  const histories = new Map(input.histories.map(history => [history.instance, history]));
  const known = new Set<InstanceId>([...input.desired, ...input.unwanted].map(({ instance }) => instance));

  const decisions = [
    ...input.desired.map(desired => {
      const units = unitsOf.get(desired.instance) ?? [];
      return reconcileInstance(desired, units, histories.get(desired.instance), { nowMs, drainMs });
    }),
    ...input.unwanted.map(unwanted => giveUp(unwanted, unitsOf.get(unwanted.instance) ?? [], nowMs, drainMs)),
    ...[...unitsOf].flatMap(([instance, units]) =>
      known.has(instance) ? [] : [leave(foreign(instance), units, nowMs, drainMs)],
    ),
  ];
  const dueMs = decisions.flatMap(decision => decision.dueMs);
  return {
    actions: decisions.flatMap(decision => decision.actions),
    statuses: decisions.flatMap(decision => decision.status ?? []),
    histories: decisions.flatMap(decision => decision.history ?? []),
    wakeInMs: dueMs.length === 0 ? null : Math.max(0, Math.min(...dueMs) - nowMs),
  };
}

function byInstance(units: Unit[]): Map<InstanceId, Unit[]> {
  const groups = new Map<InstanceId, Unit[]>();
  for (const unit of units) {
    const group = groups.get(unit.instance);
    if (group) group.push(unit);
    else groups.set(unit.instance, [unit]);
  }
  return groups;
}

interface Decision {
  actions: Action[];
  status: InstanceStatus | null;
  history: StartHistory | null;
  dueMs: InstantMs[];
}

type Leaving = Omit<UnwantedInstance, 'token'>;

/** Stops what is left of an instance, then lets go of it. */
function giveUp(unwanted: UnwantedInstance, units: Unit[], nowMs: InstantMs, drainMs: number): Decision {
  const decision = leave(unwanted, units, nowMs, drainMs);
  if (units.every(unit => unit.phase.kind === 'exited')) {
    const { subject, instance, token, reason } = unwanted;
    decision.actions.push({ kind: 'release', subject, instance, token, reason });
  }
  return decision;
}

function leave(leaving: Leaving, units: Unit[], nowMs: InstantMs, drainMs: number): Decision {
  const steps = units.map(unit =>
    retire(unit, {
      inTraffic: true,
      graceSeconds: leaving.stopTimeoutSeconds ?? defaultGraceSeconds,
      drainMs,
      nowMs,
      reason: leaving.reason,
    }),
  );
  const alive = units.find(unit => unit.phase.kind !== 'exited');
  return {
    actions: steps.flatMap(step => step.action ?? []),
    status: alive ? leavingStatus(leaving, alive, leaving.reason) : null,
    history: null,
    dueMs: steps.flatMap(step => step.dueMs ?? []),
  };
}

function foreign(instance: InstanceId): Leaving {
  return { instance, subject: subjectOfInstance(instance), reason: 'not owned by this node' };
}
