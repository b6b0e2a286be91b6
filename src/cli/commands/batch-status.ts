import type { PlanView, StepView } from '../../model/plan-views.ts';
import type { CommandContext } from '../context.ts';
import { EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import type { Output } from '../output.ts';
import { requireGood, watchPlan } from '../plans/follow-plan.ts';
import { badSteps, countsText, stepText, wordOf } from '../plans/plan-words.ts';

/** With `--json`: `{plan, revision, steps}`, the steps with `--steps` all, else those that went wrong; or one event a line. */
export async function batchStatus(context: CommandContext, call: Invocation): Promise<number> {
  const { api, io, out } = context;
  const id = call.argument(0);
  if (call.flag('watch')) {
    await requireGood(context, await watchPlan(context, id));
    return EXIT.ok;
  }
  const client = await api();
  const all = call.flag('steps');
  const [plan, { revision, items }] = await Promise.all([
    client.planOf(id, io.signal),
    client.stepsOf(id, all ? {} : { states: badSteps }, io.signal),
  ]);
  out.answer({ plan, revision, steps: items }, () => {
    const steps = all ? stepTable(items, out) : items.map(step => `${stepText(step, out)}\n`).join('');
    return `${headText(plan, out)}${steps === '' ? '' : `\n${steps}`}`;
  });
  return EXIT.ok;
}

function headText(plan: PlanView, out: Output): string {
  const { cancel } = plan;
  const rules = [
    `priority ${plan.priority}`,
    ...(plan.sequential ? ['one after the other'] : []),
    ...(plan.onFailure === 'stop' ? [] : [`on failure ${plan.onFailure}`]),
    ...(plan.completeBySeconds === null ? [] : [`within ${plan.completeBySeconds} s`]),
  ];
  const facts: [string, string | null][] = [
    ['plan', plan.title === null ? plan.plan : `${plan.plan} (${plan.title})`],
    ['state', out.state(wordOf(plan.state))],
    ['steps', countsText(plan.counts, word => out.state(word))],
    ['rules', rules.join(', ')],
    ['submitted', `${out.when(plan.submittedAt)}, from ${plan.origin}`],
    ['key', plan.idempotencyKey],
    ['ended', plan.endedAt === null ? null : out.when(plan.endedAt)],
    ['cancelled', cancel === null ? null : `${out.when(cancel.at)}, by ${cancel.by} (${cancel.kind})`],
    ...plan.troubles.map((trouble): [string, string] => ['trouble', out.paint.red(trouble)]),
  ];
  return facts.map(([name, value]) => (value === null ? '' : `${`${name}:`.padEnd(11)}${value}\n`)).join('');
}

function stepTable(steps: StepView[], out: Output): string {
  return out.table(
    ['STEP', 'NAME', 'STATE', 'ATTEMPT', 'AGENT', 'RESOURCE', 'AFTER', 'NODE', 'TROUBLE'],
    steps.map(step => [
      String(step.index),
      step.name ?? '-',
      out.state(wordOf(step.state)),
      String(step.attempt),
      step.agent,
      shortened(step.resource),
      step.dependsOn.join(', ') || '-',
      step.ranOn ?? '-',
      step.error ?? step.reason ?? '-',
    ]),
  );
}

function shortened(text: string): string {
  if (text === '') return '-';
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
