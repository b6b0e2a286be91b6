import type { NodeName } from '../../model/ids.ts';
import { agentOfSubject } from '../../model/named-agents.ts';
import { rendezvousOrder } from '../../model/rendezvous.ts';
import { moved } from '../../ownership/machines.ts';
import type { Entry } from '../../ports/store.ts';
import type { Ledger } from '../ledger.ts';
import type { World } from '../world.ts';

/** One live node writes down that a session, and with it the names it had, timed out. Returns how to stop. */
export function recordNameTimeouts(options: { node: NodeName; world: World; ledger: Ledger }): () => void {
  return options.world.sessions.onChange(changes => {
    for (const { before, after } of changes) if (before && !after) tellTimeouts(before, options);
  });
}

function tellTimeouts(
  session: Entry<'sessions'>,
  { node, world, ledger }: { node: NodeName; world: World; ledger: Ledger },
): void {
  if (rendezvousOrder(`timeout/${session.name}`, [...world.nodes().keys()])[0] !== node) return;
  for (const { name, value } of world.owners.all()) {
    const agent = agentOfSubject(name);
    if (agent === null || value.released !== null || `${value.node}/${value.incarnation}` !== session.name)
      continue;
    ledger.note({
      kind: 'agent-timed-out',
      subject: name,
      message: `the session of ${value.node}, which had ${agent} for ${value.holder}, is gone`,
      details: { holder: value.holder, ...moved('cluster', 'Assigned', 'Timeout') },
    });
  }
}
