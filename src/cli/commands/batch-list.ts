import { suggestion } from '../../manifest/nearest.ts';
import { planStates, type PlanState } from '../../model/plan.ts';
import type { CommandContext } from '../context.ts';
import { EXIT, usageFailure } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import { wordOf } from '../plans/plan-words.ts';

export async function batchList({ api, io, out }: CommandContext, call: Invocation): Promise<number> {
  const state = call.text('state');
  const origin = call.text('origin');
  const title = call.text('title');
  const limit = call.number('lines') ?? 50;
  const listing = await (
    await api()
  ).plans(
    {
      ...(state !== null && { states: readStates(state) }),
      ...(origin !== null && { origin }),
      ...(title !== null && { title }),
      limit,
    },
    io.signal,
  );
  out.answer(listing, () => {
    if (listing.items.length === 0) return 'no such plans: hop3-agent batch submit FILE submits one\n';
    return out.table(
      ['PLAN', 'STATE', 'STEPS', 'TITLE', 'FROM', 'SUBMITTED', 'ENDED'],
      listing.items.map(plan => [
        plan.plan,
        out.state(wordOf(plan.state)),
        String(plan.steps),
        plan.title ?? '-',
        plan.origin,
        out.when(plan.submittedAt),
        plan.endedAt === null ? '-' : out.when(plan.endedAt),
      ]),
    );
  });
  if (listing.next !== null) out.note(`older ones are left out: --lines shows more than ${limit}`);
  return EXIT.ok;
}

/** `pending,running`. @throws CliFailure (usage) */
function readStates(text: string): PlanState[] {
  return text.split(',').map(word => {
    const state = planStates.find(known => known === word.toUpperCase());
    if (state !== undefined) return state;
    const known = planStates.map(each => each.toLowerCase());
    throw usageFailure(`"${word}" is no state of a plan`, suggestion(word, known));
  });
}
