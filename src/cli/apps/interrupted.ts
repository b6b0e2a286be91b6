import { ApiError, ApiUnreachable } from '../../api/client.ts';
import type { PlanView } from '../../model/plan-views.ts';
import type { CommandContext } from '../context.ts';
import type { Fates } from './fates.ts';

/** A person who pressed Ctrl-C waits no longer than this to hear what has come of it. */
const PATIENCE_MS = 5000;
const LOOK_EVERY_MS = 200;

/** Ends what is under way, as the agent does when nobody listens any more, and says what became of it and of the others. */
export async function tellInterrupted(context: CommandContext, fates: Fates): Promise<void> {
  const { out } = context;
  const begun = fates.underWay();
  const ending = begun === null ? '' : endingText(begun.plan, await cancelled(context, begun.plan));
  out.note(fates.text(() => ending));
}

/** As it has ended, or stands after a while; null = nobody can say. */
async function cancelled({ api, io }: CommandContext, id: string): Promise<PlanView | null> {
  // That of the command has aborted already.
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const user = io.env['USER'] ?? io.env['LOGNAME'] ?? 'somebody';
  const untilMs = io.now() + PATIENCE_MS;
  let plan: PlanView | null = null;
  try {
    const client = await api();
    await client.cancelPlan(id, `${user}, with Ctrl-C`, signal).catch(unlessEnded);
    for (;;) {
      plan = await client.planOf(id, signal);
      if (plan.endedAt !== null || io.now() >= untilMs) return plan;
      await io.sleep(LOOK_EVERY_MS, signal);
    }
  } catch (error) {
    // What is known then is what is said.
    if (signal.aborted || error instanceof ApiError || error instanceof ApiUnreachable) return plan;
    throw error;
  }
}

function unlessEnded(error: unknown): void {
  if (!(error instanceof ApiError) || error.status !== 409) throw error;
}

function endingText(id: string, plan: PlanView | null): string {
  const watch = `hop3-agent batch status ${id} shows it`;
  if (plan === null) return `may go on, as plan ${id}: ${watch}`;
  if (plan.endedAt === null) return `is being cancelled, as plan ${id}: ${watch}`;
  if (plan.state === 'COMPLETED') return 'was deployed already';
  const isUndone = plan.state === 'CANCELLED' || plan.state === 'COMPENSATED';
  return isUndone ? 'is cancelled, and what was wanted before stays wanted' : `has ended badly: ${watch}`;
}
