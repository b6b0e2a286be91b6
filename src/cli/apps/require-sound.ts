import type { ApiClient } from '../../api/client.ts';
import type { LocatedPlan } from '../../manifest/read-manifest.ts';
import type { AppSpec } from '../../model/app-spec.ts';
import type { Problem } from '../../model/problem.ts';
import type { CommandContext } from '../context.ts';
import { CliFailure, EXIT } from '../failure.ts';
import { beside } from '../plans/beside.ts';
import { placedIn } from '../plans/hand-in.ts';
import { countText } from '../words.ts';
import { inManifest, inReadingOrder, type LoadedApp, type LoadedApps } from './load-apps.ts';

/** Of whoever is told of problems anyway. */
const PATIENCE_MS = 5000;
/** Of a source tree that is not packed: only that there is one matters. */
const NO_TREE = `sha256:${'0'.repeat(64)}`;
/** What else is wanted of ports and dependencies is not known while something is wrong. */
const OF_OTHERS = /^(ports|depends-on)\b/;

/**
 * The apps, when nothing is wrong with any file. @throws CliFailure with all that is wrong, and all that the cluster has against
 * the rest of them
 */
export async function requireSound(context: CommandContext, loaded: LoadedApps): Promise<LoadedApp[]> {
  const own = [...loaded.problems, ...loaded.refusals];
  if (own.length === 0) return loaded.apps;
  throw await unsound(context, loaded, own, 'changed');
}

/** With all that the cluster has against what could be read, so that all can be mended at once; a hint, when it can't be asked. */
export async function unsound(
  { api, io }: CommandContext,
  loaded: Pick<LoadedApps, 'apps' | 'plans' | 'drafts' | 'sources'>,
  own: readonly Problem[],
  isNot: 'changed' | 'submitted',
): Promise<CliFailure> {
  const signal = AbortSignal.any([io.signal, AbortSignal.timeout(PATIENCE_MS)]);
  const unasked: string[] = [];
  const ask = (find: (client: ApiClient) => Promise<Problem[]>): Promise<Problem[]> =>
    api()
      .then(find)
      .catch((error: unknown) => {
        unasked.push(error instanceof Error ? error.message : String(error));
        return [];
      });
  const plans = [...loaded.plans, ...loaded.drafts];
  const asked = await Promise.all([
    loaded.apps.length === 0 ? [] : ask(client => besideApps(client, loaded.apps, own, signal)),
    ...plans.map(plan =>
      ask(async client => {
        const found = await client.checkPlan(plan.spec, signal);
        const placed = found.map(problem => placedIn(plan, problem));
        return beside(plan, ownOf(plan, plans, own), placed);
      }),
    ),
  ]);
  const problems = inReadingOrder([...own, ...asked.flat()]);
  const told = `nothing was ${isNot}: ${countText(problems.length, 'problem')} to solve first`;
  const [why] = unasked;
  const hint =
    why === undefined
      ? null
      : `there may be more: what the cluster has against the rest could not be asked (${why})`;
  return new CliFailure(EXIT.failed, told, { problems, sources: loaded.sources, hint });
}

/** Up to where the next plan of its file begins. */
function ownOf(plan: LocatedPlan, plans: readonly LocatedPlan[], own: readonly Problem[]): Problem[] {
  const later = plans.filter(({ file, line }) => file === plan.file && line > plan.line);
  const end = Math.min(...later.map(({ line }) => line));
  return own.filter(({ file, line }) => file === plan.file && line >= plan.line && line < end);
}

async function besideApps(
  client: ApiClient,
  apps: readonly LoadedApp[],
  own: readonly Problem[],
  signal: AbortSignal,
): Promise<Problem[]> {
  const byName = new Map(apps.toReversed().map(app => [app.spec.app, app]));
  const specs = [...byName.values()].map(({ spec, directory }): AppSpec => {
    return directory === null ? spec : { ...spec, source: { kind: 'uploaded', digest: NO_TREE } };
  });
  const { problems } = await client.plan({ specs, ifGeneration: null }, signal);
  return problems
    .filter(({ field }) => !OF_OTHERS.test(field))
    .map(problem => inManifest(apps, problem))
    .filter(({ file, line, field }) => {
      const named = byName.get(file)?.file ?? file;
      return !own.some(known => known.file === named && known.line === line && known.field === field);
    });
}
