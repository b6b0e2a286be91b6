import { ApiUnreachable } from '../../api/client.ts';
import type { PlanChange, PlanView, StepView } from '../../model/plan-views.ts';
import type { CommandContext } from '../context.ts';
import { CliFailure, EXIT } from '../failure.ts';
import { INTERRUPTED } from '../io.ts';
import { badSteps, countsText, stepName, wordOf } from './plan-words.ts';
import { progressTeller, type Teller } from './plan-progress.ts';

const RETRY_MS = 1000;

/**
 * Until the plan has ended, telling on stderr how it goes; how it ended is the caller's to tell, and told here only when the caller
 * waits for others as well. @throws CliFailure after `timeoutSeconds`; what Ctrl-C does not end is said
 */
export async function waitForPlan(
  context: CommandContext,
  id: string,
  timeoutSeconds: number | null,
  amongOthers = false,
): Promise<PlanView> {
  const { io, out } = context;
  const write = out.json ? () => undefined : (text: string) => io.stderr.write(text);
  return await toItsEnd(
    context,
    id,
    progressTeller(out, write, { endIsAnswer: !amongOthers }),
    timeoutSeconds,
  );
}

/** The same as an answer of its own: each change in a line, or what a terminal shows of them. */
export async function watchPlan(context: CommandContext, id: string): Promise<PlanView> {
  const { io, out } = context;
  const teller: Teller = out.json
    ? { hear: event => out.item(event, () => ''), end: () => undefined }
    : progressTeller(out, text => io.stdout.write(text));
  return await toItsEnd(context, id, teller, null);
}

/** A plan that ended badly is a failure, told with what failed. @throws CliFailure */
export async function requireGood(context: CommandContext, plan: PlanView): Promise<void> {
  if (plan.state === 'COMPLETED') return;
  const { api, io } = context;
  const { items } = await (await api()).stepsOf(plan.plan, { states: badSteps }, io.signal);
  const told = items.filter(({ error }) => error !== null).slice(0, 20);
  const canBeRetried =
    plan.state === 'FAILED' || plan.state === 'CANCELLED' || plan.state === 'COMPENSATION_FAILED';
  throw new CliFailure(EXIT.failed, `${plan.plan} is ${wordOf(plan.state)}: ${countsText(plan.counts)}`, {
    output: [
      ...told.map(step => `${stepName(step)}: ${wordOf(step.state)}: ${step.error ?? ''}`),
      ...plan.troubles.filter(trouble => !told.some(({ index }) => stepIn(trouble) === index)),
    ],
    hint: canBeRetried ? `hop3-agent batch retry ${plan.plan} does what failed again` : null,
  });
}

function stepIn(trouble: string): number | null {
  const [, index = null] = /^step (\d+)/.exec(trouble) ?? [];
  return index === null ? null : Number(index);
}

async function toItsEnd(
  context: CommandContext,
  id: string,
  teller: Teller,
  timeoutSeconds: number | null,
): Promise<PlanView> {
  const { io, out } = context;
  const late = new AbortController();
  const signal = AbortSignal.any([io.signal, late.signal]);
  const waited = new AbortController();
  if (timeoutSeconds !== null) {
    io.sleep(timeoutSeconds * 1000, AbortSignal.any([io.signal, waited.signal])).then(
      () => late.abort(),
      () => undefined,
    );
  }
  try {
    return await heard(context, id, teller, signal);
  } catch (error) {
    if (io.signal.reason === INTERRUPTED) {
      out.note(`${id} goes on: hop3-agent batch status ${id} --watch shows it, batch cancel ${id} ends it`);
    } else if (late.signal.aborted && !io.signal.aborted) {
      throw new CliFailure(EXIT.failed, `after ${timeoutSeconds ?? 0} s ${id} has not ended`, {
        hint: `it goes on: hop3-agent batch status ${id} --watch shows it`,
      });
    }
    throw error;
  } finally {
    waited.abort();
    teller.end();
  }
}

/** Goes on where it was when the agent goes away for a while. */
async function heard(
  { api, io, out }: CommandContext,
  id: string,
  teller: Teller,
  signal: AbortSignal,
): Promise<PlanView> {
  const client = await api();
  const steps = new Map<number, StepView>();
  let plan: PlanView | null = null;
  let lastId = '';
  for (;;) {
    try {
      for await (const placed of client.watchPlan(id, lastId, signal)) {
        lastId = placed.id;
        if (placed.value === null) continue;
        if (placed.value.kind === 'plan') plan = placed.value.plan;
        if (isNews(placed.value, steps)) teller.hear(placed.value);
      }
      if (plan?.endedAt) return plan;
    } catch (error) {
      if (!(error instanceof ApiUnreachable) || plan === null) throw error;
      out.note(`${error.message}; trying again`);
    }
    await io.sleep(RETRY_MS, signal);
  }
}

/** What a stream that was cut tells once more is none. */
function isNews(event: PlanChange, steps: Map<number, StepView>): boolean {
  if (event.kind === 'plan') return true;
  const before = steps.get(event.step.index);
  steps.set(event.step.index, event.step);
  return before?.state !== event.step.state || before.attempt !== event.step.attempt;
}
