import { ApiUnreachable } from '../../api/client.ts';
import type { AppSpec } from '../../model/app-spec.ts';
import type { ApplyResult, DeployProgress } from '../../model/views.ts';
import type { CommandContext } from '../context.ts';
import { CliFailure, EXIT } from '../failure.ts';
import { INTERRUPTED } from '../io.ts';
import type { Output } from '../output.ts';
import { processesText } from '../commands/process-words.ts';
import { requireGood, waitForPlan } from '../plans/follow-plan.ts';
import type { HandedIn } from '../plans/hand-in.ts';
import { countsText, scheduleText, wordOf } from '../plans/plan-words.ts';
import { waitUntilReady } from '../wait-ready.ts';
import { refused } from './ask-first.ts';
import { Fates } from './fates.ts';
import { tellInterrupted } from './interrupted.ts';
import type { LoadedApps } from './load-apps.ts';

export type Applied = Extract<ApplyResult, { kind: 'applied' }>;

/**
 * Gives the specs to the cluster and tells how it goes. @throws CliFailure when they are refused (with the problems),
 * when building or starting them failed (deploy failed), or when nobody can be heard any more (cannot reach); where that leaves
 * some of them done and others not, it says which
 */
export async function handOver(
  context: CommandContext,
  specs: AppSpec[],
  { sources }: Pick<LoadedApps, 'sources'>,
): Promise<Applied> {
  const { api, io, out } = context;
  const client = await api();
  const fates = new Fates(specs.map(({ app }) => app));
  try {
    for await (const progress of client.apply({ specs, ifGeneration: null }, io.signal)) {
      fates.hear(progress);
      if (progress.kind !== 'done') tell(out, progress);
      if (progress.kind === 'failed') throw failed(progress, fates, specs.length);
      if (progress.kind !== 'done') continue;
      if (progress.result.kind === 'applied') return progress.result;
      throw refused(progress.result.problems, sources);
    }
  } catch (error) {
    if (io.signal.reason === INTERRUPTED) await tellInterrupted(context, fates);
    throw error instanceof ApiUnreachable ? brokenOff(error.message, fates, error) : error;
  }
  throw brokenOff('the agent broke off before it said how it ended', fates);
}

function tell(out: Output, progress: Exclude<DeployProgress, { kind: 'done' }>): void {
  const { app } = progress;
  if (progress.kind === 'begun') {
    const { plan } = progress;
    out.note(`${app}: plan ${plan}: hop3-agent batch status ${plan} shows it, batch cancel ${plan} ends it`);
  }
  if (progress.kind === 'step') out.note(`${app}: ${progress.step}: ${progress.message}`);
  if (progress.kind === 'output') out.note(`${app} ${out.paint.dim('|')} ${progress.text}`);
}

function failed(
  { app, step, message, output }: Extract<DeployProgress, { kind: 'failed' }>,
  fates: Fates,
  apps: number,
): CliFailure {
  const others = apps > 1 ? `; ${fates.text()}` : '';
  return new CliFailure(EXIT.deployFailed, `${app}: ${step} failed: ${message}${others}`, {
    output,
    hint: apps > 1 ? 'apply them again once it is mended: what is as wanted already stays as it is' : null,
  });
}

/** Other nodes go on with what has begun; what comes after it in the same request nobody but the lost one knew of. */
function brokenOff(message: string, fates: Fates, cause?: unknown): CliFailure {
  const text = fates.text(plan => `goes on, as plan ${plan}`);
  const plan = fates.underWay()?.plan;
  const watch = plan === undefined ? '' : `hop3-agent batch status ${plan} --watch shows how it ends; `;
  return new CliFailure(EXIT.unreachable, `${message}; ${text}`, {
    hint: `ask another node with --api URL: ${watch}applying again goes on with what is left`,
    cause,
  });
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
  const several = handed.plans.length > 1;
  const apps = waitSeconds === null ? changesText(applied) : await readyText(context, applied, waitSeconds);
  const plans =
    waitSeconds === null
      ? handed.plans
      : await Promise.all(handed.plans.map(({ plan }) => waitForPlan(context, plan, waitSeconds, several)));
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
  try {
    await waitUntilReady(context, applied.apps, waitSeconds);
  } catch (error) {
    if (io.signal.reason === INTERRUPTED) tellGoesOn(context, applied);
    throw error;
  }
  const apps = await Promise.all(applied.apps.map(({ app }) => client.app(app, io.signal)));
  return apps
    .map(app => {
      const where = app.hostnames.length > 0 ? `, at ${app.hostnames.join(', ')}` : '';
      return `${app.app}: ready, release ${app.release}, ${processesText(app)}${where}\n`;
    })
    .join('');
}

function tellGoesOn({ out }: CommandContext, { apps }: Applied): void {
  for (const { app, release } of apps) {
    out.note(
      `${app}: release ${release} stays wanted, and the nodes go on: hop3-agent status ${app} shows it`,
    );
  }
}
