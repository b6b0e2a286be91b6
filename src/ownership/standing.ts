import type { NodeName, Token } from '../model/ids.ts';
import { tokenOf, type OwnerRecord } from '../model/records.ts';

export interface Standing {
  state: 'Inactive' | 'Assigned' | 'Unassigned';
  /** Whether this very session has it. */
  mine: boolean;
  /** Whether a redundant subject may be taken. Exclusive ones have to wait besides. */
  free: boolean;
  /** Who has it, or had it last. */
  lastNode: NodeName | null;
  token: Token | null;
  /** Nodes on which it may still run although they do not own it. */
  mayStillRun: NodeName[];
  reason: string;
}

/**
 * How things stand with one subject. `liveIncarnations` are the session keys that exist, as `<node>/<incarnation>`. Only
 * good for deciding what to try: the store's transaction decides.
 */
export function standing(
  owner: { value: OwnerRecord; revision: bigint } | undefined,
  liveIncarnations: ReadonlySet<string>,
  self: { node: NodeName; incarnation: string },
): Standing {
  if (!owner) {
    return {
      state: 'Inactive',
      mine: false,
      free: true,
      lastNode: null,
      token: null,
      mayStillRun: [],
      reason: 'nobody has taken it yet',
    };
  }
  const { value } = owner;
  const common = { lastNode: value.node, token: tokenOf(owner), mayStillRun: value.mayStillRun };
  if (value.released !== null) {
    const reason = `released by ${value.node}: ${value.released.reason}`;
    return { state: 'Unassigned', mine: false, free: true, ...common, reason };
  }
  if (liveIncarnations.has(`${value.node}/${value.incarnation}`)) {
    const mine = value.node === self.node && value.incarnation === self.incarnation;
    const reason = mine ? 'owned by this node' : `owned by ${value.node}`;
    return { state: 'Assigned', mine, free: false, ...common, reason };
  }
  return {
    state: 'Unassigned',
    mine: false,
    free: true,
    ...common,
    mayStillRun: [...new Set([...value.mayStillRun, value.node])],
    reason:
      value.node === self.node
        ? 'this node had it in an earlier session'
        : `the session of ${value.node} is gone`,
  };
}
