import type { AgentView } from '../../model/named-agents.ts';
import type { CommandContext } from '../context.ts';
import { EXIT } from '../failure.ts';
import type { Output } from '../output.ts';

export async function agents({ api, out, io }: CommandContext): Promise<number> {
  const listing = await (await api()).agents(io.signal);
  out.answer(listing, () => agentTable(listing.items, out));
  return EXIT.ok;
}

function agentTable(items: AgentView[], out: Output): string {
  return out.table(
    ['NAME', 'STATE', 'OWNER', 'HOLDER', 'TOKEN', 'SINCE', 'WAITERS', 'ASKED FOR HERE', 'WHY'],
    items.map(agent => [
      agent.name,
      out.state(agent.state),
      agent.owner ?? '-',
      agent.holder ?? '-',
      agent.token ?? '-',
      agent.since === null ? '-' : out.when(agent.since),
      agent.waiters.map(({ holder, node }) => `${holder}@${node}`).join(', ') || '-',
      agent.requests.map(({ holder, state }) => `${holder} ${state}`).join(', ') || '-',
      agent.reason,
    ]),
  );
}
