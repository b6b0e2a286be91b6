import type { RebalancingView } from '../../model/views.ts';
import type { CommandContext } from '../context.ts';
import { EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import type { Output } from '../output.ts';
import { requireGood, waitForPlan } from '../plans/follow-plan.ts';
import { countsText, wordOf } from '../plans/plan-words.ts';
import { countText } from '../words.ts';

export async function rebalance(context: CommandContext, call: Invocation): Promise<number> {
  const { api, io, out } = context;
  if (call.flag('apply')) return applied(context, call);
  const found = await (await api()).rebalancing(io.signal);
  const count = found.moves.length;
  const would = count === 1 ? '1 instance would move' : `${count} instances would move`;
  out.answer(found, () =>
    count === 0
      ? evenText(found)
      : `${movesText(found, out)}\n${would}, one after the other; hop3-agent rebalance --apply does it\n`,
  );
  return EXIT.ok;
}

async function applied(context: CommandContext, call: Invocation): Promise<number> {
  const { api, io, out } = context;
  const asked = await (await api()).rebalance(io.signal);
  if (asked.plan === null) {
    out.answer(asked, () => evenText(asked));
    return EXIT.ok;
  }
  if (!asked.created) out.note(`${asked.plan} is under way already: it is that one`);
  if (!call.flag('wait')) {
    out.answer(asked, () => {
      const moves = asked.created ? `${movesText(asked, out)}\n` : '';
      return `${moves}${asked.plan ?? ''} moves them; hop3-agent batch status ${asked.plan ?? ''} --watch shows how far it is\n`;
    });
    return EXIT.ok;
  }
  const plan = await waitForPlan(context, asked.plan, call.number('timeout'));
  out.answer(plan, () => `${plan.plan}: ${out.state(wordOf(plan.state))}, ${countsText(plan.counts)}\n`);
  await requireGood(context, plan);
  return EXIT.ok;
}

function evenText(found: RebalancingView): string {
  return `it is as even as it can be: nothing would move\n${staysText(found)}`;
}

function movesText(found: RebalancingView, out: Output): string {
  const moves = found.moves.map(({ instance, from, to, reason }) => [instance, from, to, reason]);
  const nodes = found.nodes.map(({ node, instances, instancesAfter }) => [
    node,
    String(instances),
    String(instancesAfter),
  ]);
  const tables = [
    out.table(['INSTANCE', 'FROM', 'TO', 'WHY'], moves),
    out.table(['NODE', 'INSTANCES', 'AFTER'], nodes),
  ];
  return `${tables.join('\n')}${staysText(found)}`;
}

function staysText({ stays }: RebalancingView): string {
  if (stays.length === 0) return '';
  const lines = stays.map(({ instance, node, why }) => `  ${instance} on ${node}: ${why}\n`);
  return `\n${countText(stays.length, 'instance')} should move, too, and can't:\n${lines.join('')}`;
}
