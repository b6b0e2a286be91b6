import { loadApps } from '../apps/load-apps.ts';
import type { CommandContext } from '../context.ts';
import { EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import { planText } from '../plans/plan-words.ts';
import { problemsText } from '../problem-frame.ts';
import type { LocatedPlan } from '../../manifest/read-manifest.ts';
import { problemText } from '../../model/problem.ts';
import { scalesText } from './process-words.ts';

/** With `--json`: `{apps, plans, problems, refusals}` on stdout, also when there are problems. */
export async function validate(context: CommandContext, call: Invocation): Promise<number> {
  const { out, io } = context;
  const { apps, plans, problems, refusals, sources } = await loadApps(context, call.argumentsFrom(0));
  if (out.json || problems.length === 0) {
    const answer = {
      apps: apps.map(({ spec }) => spec),
      plans: plans.map(({ spec, schedule, idempotencyKey }) => ({ spec, schedule, idempotencyKey })),
      problems,
      refusals,
    };
    out.answer(answer, () =>
      [
        ...apps.map(({ file, spec }) => `${file}: ${spec.app} (${scalesText(spec)})\n`),
        ...plans.map(({ file, spec, schedule }) => `${file}: ${planText(spec)}${whenText(schedule)}\n`),
      ].join(''),
    );
  }
  if (!out.json && problems.length > 0) io.stderr.write(problemsText(problems, sources, out.paint));
  for (const refusal of refusals) {
    out.note(`${out.paint.yellow('warning')}: ${problemText(refusal)}; applying it will be refused`);
  }
  return problems.length > 0 ? EXIT.failed : EXIT.ok;
}

function whenText(schedule: LocatedPlan['schedule']): string {
  return schedule === null ? '' : `, scheduled as "${schedule.name}": ${schedule.schedule.expression}`;
}
