import type { NodeView } from '../../model/views.ts';
import type { CommandContext } from '../context.ts';
import { EXIT } from '../failure.ts';
import type { Output } from '../output.ts';
import { bytesText, shareText } from '../words.ts';

export async function nodes({ api, out, io }: CommandContext): Promise<number> {
  const listing = await (await api()).nodes(io.signal);
  out.answer(listing, () => nodeTable(listing.items, out));
  return EXIT.ok;
}

export function nodeTable(items: NodeView[], out: Output): string {
  return out.table(
    ['NODE', 'STATE', 'UNHEARD BY', 'INSTANCES', 'MEMORY', 'CPU', 'TRUST', 'ROLES', 'LABELS', 'API', 'SINCE'],
    items.map(node => [
      node.name,
      out.state(node.state) + besides(node, out),
      node.unheardBy.map(({ node: by, since }) => `${by} (${out.when(since)})`).join(', ') || '-',
      String(node.instances),
      `${bytesText(node.reserved.memoryBytes)} of ${bytesText(node.capacity.memoryBytes)}`,
      `${rounded(node.reserved.cpu)} of ${rounded(node.capacity.cpu)}`,
      shareText(node.trust),
      node.roles.join(', '),
      Object.entries(node.labels)
        .map(([name, value]) => `${name}=${value}`)
        .join(', ') || '-',
      node.admin,
      out.when(node.startedAt),
    ]),
  );
}

/** What is known of it besides the state of its session. */
function besides({ unreachable, draining, drain }: NodeView, { paint }: Output): string {
  const progress = drain?.left === 0 ? 'drained' : `draining${drain ? `, ${drain.left} left` : ''}`;
  const words = [...(unreachable ? [paint.red('unreachable')] : []), ...(draining ? [progress] : [])];
  return words.length === 0 ? '' : ` (${words.join(', ')})`;
}

function rounded(cores: number): string {
  return String(Math.round(cores * 100) / 100);
}
