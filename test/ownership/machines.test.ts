import test from 'ava';
import { next, type Machines } from '../../src/ownership/machines.ts';

type Moves<M extends keyof Machines> = Partial<
  Record<`${Machines[M]['state']} ${Machines[M]['event']}`, Machines[M]['state']>
>;

const cluster: Moves<'cluster'> = {
  'Inactive Requesting': 'Assigned',
  'Assigned Timeout': 'Unassigned',
  'Assigned Release': 'Unassigned',
  'Unassigned Requesting': 'Assigned',
};
const request: Moves<'request'> = {
  'Unassigned Requesting': 'Pending',
  'Pending Granted': 'Assigned',
  'Pending RequestTimedOut': 'Unassigned',
  'Pending Release': 'Unassigned',
  'Assigned Release': 'Unassigned',
  'Assigned Lost': 'Unassigned',
};
const node: Moves<'node'> = {
  'Inactive Started': 'Active',
  'Active Renew': 'Active',
  'Active TimedOut': 'ConnectionLost',
  'ConnectionLost Reconnect': 'Active',
};

check('cluster', ['Inactive', 'Assigned', 'Unassigned'], ['Requesting', 'Timeout', 'Release'], cluster);
check(
  'request',
  ['Pending', 'Assigned', 'Unassigned'],
  ['Requesting', 'Granted', 'RequestTimedOut', 'Release', 'Lost'],
  request,
);
check('node', ['Inactive', 'Active', 'ConnectionLost'], ['Started', 'Renew', 'TimedOut', 'Reconnect'], node);

function check<M extends keyof Machines>(
  machine: M,
  states: Machines[M]['state'][],
  events: Machines[M]['event'][],
  moves: Moves<M>,
): void {
  for (const state of states) {
    for (const event of events) {
      const after = (moves as Record<string, string | undefined>)[`${state} ${event}`];
      test(`${machine}: ${event} in state ${state} ${after ? `leads to ${after}` : 'cannot happen'}`, t => {
        if (after) {
          t.is<string, string>(next(machine, state, event), after);
        } else {
          t.throws(() => next(machine, state, event), {
            message: `${machine}: ${event} cannot happen in state ${state}`,
          });
        }
      });
    }
  }
}
