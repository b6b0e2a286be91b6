import type { AppSpec } from '../../model/app-spec.ts';
import type { Problem } from '../../model/problem.ts';
import type { ApplyResult } from '../../model/views.ts';
import type { CommandContext } from '../context.ts';
import { CliFailure, EXIT } from '../failure.ts';
import { processesText } from '../commands/process-words.ts';
import { requireGood, waitForPlan } from '../plans/follow-plan.ts';
import type { HandedIn } from '../plans/hand-in.ts';
import { countsText, scheduleText, wordOf } from '../plans/plan-words.ts';
import { waitUntilReady } from '../wait-ready.ts';
import { countText } from '../words.ts';
import type { LoadedApps } from './load-apps.ts';

export type Applied = Extract<ApplyResult, { kind: 'applied' }>;

/**
 * Gives the specs to the cluster and tells how it goes. @throws CliFailure when they are refused (with the problems),
 * or when building or starting them failed (deploy failed)
 */
export async function handOver(
  { api, io, out }: CommandContext,
  specs: AppSpec[],
  { sources }: Pick<LoadedApps, 'sources'>,
): Promise<Applied> {
  const client = await api();
  for await (const progress of client.apply({ specs, ifGeneration: null }, io.signal)) {
    switch (progress.kind) {
      case 'step':
        out.note(`${progress.app}: ${progress.step}: ${progress.message}`);
        break;
      case 'output':
        out.note(`${progress.app} ${out.paint.dim('|')} ${progress.text}`);
        break;
      case 'failed':
        throw new CliFailure(
          EXIT.deployFailed,
          `${progress.app}: ${progress.step} failed: ${progress.message}`,
          { output: progress.output },
        );
      case 'done':
        if (progress.result.kind === 'applied') return progress.result;
        throw refused(progress.result.problems, sources);
    }
  }
  throw new CliFailure(EXIT.unreachable, 'the agent broke off before it said how it ended', {
    hint: 'hop3-agent batch list, asked of any other node, shows what becomes of it; applying again is safe',
  });
}

function refused(problems: readonly Problem[], sources: ReadonlyMap<string, string>): CliFailure {
  return new CliFailure(
    problems.every(({ conflict }) => conflict) ? EXIT.conflict : EXIT.failed,
    `nothing was changed: the cluster refuses ${countText(problems.length, 'thing')}`,
    {
      problems: [...problems],
      sources,
    },
  );
}

const changeWords = { create: 'created', update: 'updated', none: 'unchanged', remove: 'removed' } as const;

/**
 * What was applied, and what of plans was handed in beside; with `waitSeconds`, once all apps are ready and all plans have ended.
 * @throws CliFailure when an app does not become ready, or a plan ends badly
 */
export async function tellApplied(
  context: CommandContext,
  applied: Applied,
  waitSeconds: number | null,
  handed: HandedIn = { plans: [], schedules: [] },
): Promise<void> {
  const { out } = context;
  const apps = waitSeconds === null ? changesText(applied) : await readyText(context, applied, waitSeconds);
  const plans =
    waitSeconds === null
      ? handed.plans
      : await Promise.all(handed.plans.map(({ plan }) => waitForPlan(context, plan, waitSeconds)));
  const { schedules } = handed;
  const lines = [
    ...schedules.map(schedule => scheduleText(schedule)),
    ...plans.map(plan => `${plan.plan}: ${out.state(wordOf(plan.state))}, ${countsText(plan.counts)}`),
  ];
  const answer = {
    ...applied,
    ...(plans.length > 0 && { plans }),
    ...(schedules.length > 0 && { schedules }),
  };
  out.answer(answer, () => apps + lines.map(line => `${line}\n`).join(''));
  if (waitSeconds !== null) for (const plan of plans) await requireGood(context, plan);
}

function changesText(applied: Applied): string {
  return applied.apps
    .map(({ app, change, release }) => `${app}: ${changeWords[change]}, release ${release}\n`)
    .join('');
}

async function readyText(context: CommandContext, applied: Applied, waitSeconds: number): Promise<string> {
  const { api, io } = context;
  const client = await api();
  await waitUntilReady(context, applied.apps, waitSeconds);
  const apps = await Promise.all(applied.apps.map(({ app }) => client.app(app, io.signal)));
  return apps
    .map(app => {
      const where = app.hostnames.length > 0 ? `, at ${app.hostnames.join(', ')}` : '';
      return `${app.app}: ready, release ${app.release}, ${processesText(app)}${where}\n`;
    })
    .join('');
}
