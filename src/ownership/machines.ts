/**
 * The three machines of ownership, with the names of the idea they come from (a state machine for "which server owns
 * the agent"). An absent entry is a move that cannot happen: asking for it is a programmer's error.
 */
export interface Machines {
  /** One subject, as the whole cluster sees it: Inactive = never owned, Assigned = owned by a live session. */
  cluster: {
    state: 'Inactive' | 'Assigned' | 'Unassigned';
    event: 'Requesting' | 'Timeout' | 'Release';
  };
  /**
   * One subject, as one node sees its own request for it. `Granted` and `Lost` are ours: without them nothing leads from
   * Pending to Assigned, and nothing tells a node that its session or its owner key is gone.
   */
  request: {
    state: 'Pending' | 'Assigned' | 'Unassigned';
    event: 'Requesting' | 'Granted' | 'RequestTimedOut' | 'Release' | 'Lost';
  };
  /** One node's own standing. A renewal that comes too late does not bring it back: only `Reconnect`, a new session, does. */
  node: {
    state: 'Inactive' | 'Active' | 'ConnectionLost';
    event: 'Started' | 'Renew' | 'TimedOut' | 'Reconnect';
  };
}

export type NodeState = Machines['node']['state'];

type Table<M extends keyof Machines> = Readonly<
  Record<Machines[M]['state'], Readonly<Partial<Record<Machines[M]['event'], Machines[M]['state']>>>>
>;

const tables: { readonly [M in keyof Machines]: Table<M> } = {
  cluster: {
    Inactive: { Requesting: 'Assigned' },
    Assigned: { Timeout: 'Unassigned', Release: 'Unassigned' },
    Unassigned: { Requesting: 'Assigned' },
  },
  request: {
    Unassigned: { Requesting: 'Pending' },
    Pending: { Granted: 'Assigned', RequestTimedOut: 'Unassigned', Release: 'Unassigned' },
    Assigned: { Release: 'Unassigned', Lost: 'Unassigned' },
  },
  node: {
    Inactive: { Started: 'Active' },
    Active: { Renew: 'Active', TimedOut: 'ConnectionLost' },
    ConnectionLost: { Reconnect: 'Active' },
  },
};

/** The state after an event. @throws Error naming state and event when the event cannot happen in that state */
export function next<M extends keyof Machines>(
  machine: M,
  state: Machines[M]['state'],
  event: Machines[M]['event'],
): Machines[M]['state'] {
  const table: Table<M> = tables[machine];
  const after: Machines[M]['state'] | undefined = table[state][event];
  if (after === undefined) throw new Error(`${machine}: ${event} cannot happen in state ${state}`);
  return after;
}

/** A move of a machine as the ledger tells it. @throws Error when it cannot happen */
export function moved<M extends keyof Machines>(
  machine: M,
  from: Machines[M]['state'],
  event: Machines[M]['event'],
): { event: Machines[M]['event']; from: Machines[M]['state']; to: Machines[M]['state'] } {
  return { event, from, to: next(machine, from, event) };
}
