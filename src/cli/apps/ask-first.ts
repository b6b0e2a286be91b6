import type { AppSpec } from '../../model/app-spec.ts';
import type { Problem } from '../../model/problem.ts';
import type { AppPlan } from '../../model/views.ts';
import type { CommandContext } from '../context.ts';
import { CliFailure, EXIT, type ExitCode } from '../failure.ts';
import { placedIn } from '../plans/hand-in.ts';
import { countText } from '../words.ts';
import { inManifest, type LoadedApps } from './load-apps.ts';

/** What applying would change, and everything that the cluster has against it, apps and plans alike. Changes nothing. */
export async function askFirst(
  { api, io }: CommandContext,
  specs: AppSpec[],
  loaded: Pick<LoadedApps, 'apps' | 'plans'>,
): Promise<{ plans: AppPlan[]; problems: Problem[] }> {
  const client = await api();
  const asked =
    specs.length === 0 && loaded.plans.length > 0
      ? { plans: [], problems: [] }
      : await client.plan({ specs, ifGeneration: null }, io.signal);
  const problems = asked.problems.map(problem => inManifest(loaded.apps, problem));
  for (const plan of loaded.plans) {
    const found = await client.checkPlan(plan.spec, io.signal);
    problems.push(...found.map(problem => placedIn(plan, problem)));
  }
  return { plans: asked.plans, problems };
}

/** @throws CliFailure with every problem, when the cluster would refuse any of it */
export async function requireAccepted(
  context: CommandContext,
  specs: AppSpec[],
  loaded: Pick<LoadedApps, 'apps' | 'plans' | 'sources'>,
): Promise<void> {
  const { problems } = await askFirst(context, specs, loaded);
  if (problems.length > 0) throw refused(problems, loaded.sources);
}

export function refused(problems: readonly Problem[], sources: ReadonlyMap<string, string>): CliFailure {
  const told = `nothing was changed: the cluster refuses ${countText(problems.length, 'thing')}`;
  return new CliFailure(exitOf(problems), told, { problems: [...problems], sources });
}

/** Of what the cluster refuses: conflict when all of it is about what others have. */
export function exitOf(problems: readonly Problem[]): ExitCode {
  return problems.every(({ conflict }) => conflict) ? EXIT.conflict : EXIT.failed;
}
