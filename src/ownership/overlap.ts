import { subjectOfInstance, type InstanceId, type NodeName, type Subject } from '../model/ids.ts';
import type { RunningElsewhere } from '../model/reconciliation.ts';
import type { Standing } from './standing.ts';

export interface SurplusInput {
  self: NodeName;
  /** Instances of which a copy runs here, owned or not. */
  runningHere: InstanceId[];
  standings: ReadonlyMap<Subject, Standing>;
  /** What the nodes promise to run. */
  elsewhere: RunningElsewhere[];
  /** Instances that some spec wants at all. */
  wanted: ReadonlySet<InstanceId>;
  /** Instances of which there must never be two. */
  exclusive?: ReadonlySet<InstanceId>;
}

/** One copy that runs here though this node does not own it. */
export interface SurplusCopy {
  instance: InstanceId;
  stopNow: boolean;
  reason: string;
}

/**
 * What becomes of redundant copies that outlived the ownership of them (a lost store, a lost session). They go on until
 * the new owner's copy is ready, or nobody wants them; as long as nobody owns them, this node may take them back.
 */
export function surplusCopies(input: SurplusInput): SurplusCopy[] {
  return input.runningHere.flatMap(instance => {
    const standing = input.standings.get(subjectOfInstance(instance));
    return standing?.mine ? [] : [judge(instance, standing, input)];
  });
}

function judge(instance: InstanceId, standing: Standing | undefined, input: SurplusInput): SurplusCopy {
  if (input.exclusive?.has(instance)) {
    return { instance, stopNow: true, reason: 'this node does not own it, and it must never run twice' };
  }
  if (!input.wanted.has(instance)) return { instance, stopNow: true, reason: 'not wanted any more' };
  if (!standing || standing.free) {
    return { instance, stopNow: false, reason: 'nobody owns it: kept running until somebody does' };
  }
  const owner = standing.lastNode;
  const ready = input.elsewhere.some(
    other => other.instance === instance && other.node !== input.self && other.node === owner && other.ready,
  );
  return ready
    ? { instance, stopNow: true, reason: `${owner ?? 'another node'} owns it and its copy is ready` }
    : {
        instance,
        stopNow: false,
        reason: `${owner ?? 'another node'} owns it, but its copy is not ready yet`,
      };
}
