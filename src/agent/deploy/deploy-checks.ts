import { processOf, type AppSpec } from '../../model/app-spec.ts';
import type { AppName, Digest } from '../../model/ids.ts';
import type { Problem } from '../../model/problem.ts';
import type { AppPlan, ApplyRequest } from '../../model/views.ts';
import { checkTogether } from '../../manifest/check-together.ts';
import { runnable } from '../../manifest/runnable.ts';
import { hostnameConflicts, portConflicts, type PortNode } from '../../promise/conflicts.ts';
import { classify } from '../../reconcile/classify.ts';
import type { Entry, Store } from '../../ports/store.ts';
import { cronPlan } from '../../workflow/app-crons.ts';
import { checkSubmission } from '../../workflow/check-submission.ts';
import { checkCron } from '../../workflow/cron.ts';
import type { Supplies } from '../supplies.ts';
import type { Platforms } from './platforms.ts';

export interface DeployChecksOptions {
  store: Store;
  supplies: Supplies;
  platforms: Pick<Platforms, 'lost'>;
  /** Whether steps of plans can run commands of apps here, as on all nodes. */
  runsCommands: () => boolean;
}

/** What applying specs would change, and everything that stands against it. */
export class DeployChecks {
  readonly #options: DeployChecksOptions;

  constructor(options: DeployChecksOptions) {
    this.#options = options;
  }

  /** @throws StoreError */
  async plan(request: ApplyRequest): Promise<{ plans: AppPlan[]; problems: Problem[] }> {
    const problems: Problem[] = [];
    const plans: AppPlan[] = [];
    const [holders, nodes, others] = await Promise.all([
      this.#holders(),
      this.#nodes(),
      this.#others(request.specs),
    ]);
    problems.push(...clashes(request.specs, others));
    for (const spec of request.specs) {
      const current = await this.#options.store.get('apps', spec.app);
      const rivals = [...request.specs.filter(other => other !== spec), ...others];
      problems.push(...this.#problems(spec, holders));
      problems.push(...portConflicts(spec, wantedSpec(current), rivals, nodes));
      const generation = current?.value.generation ?? 0;
      if (request.ifGeneration !== null && generation !== request.ifGeneration) {
        const is = current ? `is at generation ${generation}` : 'is not there';
        const message = `"${spec.app}" ${is}, not at generation ${request.ifGeneration}`;
        problems.push(problem(spec.app, 'metadata.id', message));
      }
      const before = wantedSpec(current);
      const lost = this.#options.platforms.lost(spec, current?.value.artifact);
      const { impact, differences } = impactOf(asFoundBefore(spec, before), undefined, current, lost);
      const change = before === null ? 'create' : impact === 'none' ? 'none' : 'update';
      plans.push({ app: spec.app, change, impact, differences });
    }
    return { plans, problems };
  }

  async #holders(): Promise<Map<string, AppName>> {
    const { entries } = await this.#options.store.list('hostnames');
    return new Map(entries.map(entry => [entry.name, entry.value.app]));
  }

  async #nodes(): Promise<PortNode[]> {
    const { entries } = await this.#options.store.list('sessions');
    return [...new Map(entries.map(({ value }) => [value.node, value])).values()];
  }

  /** What else is wanted than what a request asks for. @throws StoreError */
  async #others(specs: AppSpec[]): Promise<AppSpec[]> {
    const asked = new Set(specs.map(spec => spec.app));
    const { entries } = await this.#options.store.list('apps');
    return entries.flatMap(({ name, value }) => (asked.has(name) || value.removing ? [] : [value.spec]));
  }

  /** Asked only when it is to be deployed: a plan is made before anything is uploaded. @throws StoreError */
  async missingSources(specs: AppSpec[]): Promise<Problem[]> {
    const problems: Problem[] = [];
    for (const { app, source } of specs) {
      if (source?.kind !== 'uploaded' || (await this.#options.supplies.canBeHad(source.digest))) continue;
      problems.push(
        problem(
          app,
          'source.uploaded',
          `no node holds the source tree ${source.digest}`,
          'upload it again, as `hop3-agent apply` and `deploy` do',
        ),
      );
    }
    return problems;
  }

  #problems(spec: AppSpec, holders: ReadonlyMap<string, AppName>): Problem[] {
    const problems = [...runnable(spec), ...hostnameConflicts(spec, holders)];
    if (spec.source === null) {
      problems.push(
        problem(
          spec.app,
          'source',
          'nothing says where the app is',
          'source.path, source.git or source.archive',
        ),
      );
    }
    if (spec.source?.kind === 'path') {
      problems.push(
        problem(
          spec.app,
          'source.path',
          'a directory has to be uploaded first',
          'use `hop3-agent apply` or `deploy`, which do that',
        ),
      );
    }
    return [...problems, ...this.#cronProblems(spec)];
  }

  #cronProblems({ app, crons }: AppSpec): Problem[] {
    if (crons.length > 0 && !this.#options.runsCommands()) {
      const message = 'the nodes run no scheduled commands: their configuration says plans.commands: none';
      return [problem(app, 'crons', message, 'let them have plans.commands: apps')];
    }
    const names = crons.map(({ name }) => name);
    const twice = names.filter((name, index) => names.indexOf(name) !== index);
    return [
      ...twice.map(name => problem(app, `crons.${name}`, 'two scheduled commands have this name')),
      ...crons.flatMap(cron =>
        [...checkCron(cron.schedule), ...checkSubmission(cronPlan(app, cron))].map(
          ({ field, message, hint }) => problem(app, `crons.${cron.name}.${field}`, message, hint),
        ),
      ),
    ];
  }
}

/** Between the specs of one request, and circles that these would close. */
function clashes(specs: AppSpec[], others: AppSpec[]): Problem[] {
  return checkTogether([
    ...specs.map(spec => ({ spec, file: spec.app, line: 0 })),
    // Whose host names they hold is known better from the host names themselves.
    ...others.map(spec => ({ spec: { ...spec, hostnames: [] }, file: spec.app, line: 0 })),
  ]);
}

/** As it is wanted now; null = not at all. */
export function wantedSpec(current: Entry<'apps'> | null): AppSpec | null {
  return current && !current.value.removing ? current.value.spec : null;
}

export function sameSource(a: AppSpec, b: AppSpec | null): boolean {
  return b !== null && JSON.stringify([a.source, a.build]) === JSON.stringify([b.source, b.build]);
}

/** A spec whose process was found in the same source before has that process, as far as one can tell without looking. */
export function asFoundBefore(spec: AppSpec, before: AppSpec | null): AppSpec {
  const web = before === null || !sameSource(spec, before) ? null : processOf(before, 'web');
  if (spec.processes.length > 0 || web === null) return spec;
  const { webSettings, ...rest } = spec;
  return { ...rest, processes: [{ ...web, ...webSettings }] };
}

/** What a change of spec costs, or of what its source names, or that no node is left of the platform it was built for. */
export function impactOf(
  spec: AppSpec,
  source: Digest | undefined,
  current: Entry<'apps'> | null,
  lostPlatform: string | null,
): Pick<AppPlan, 'impact' | 'differences'> {
  const found = classify(wantedSpec(current), spec);
  const moved = source !== undefined && source !== current?.value.source;
  return moved || lostPlatform !== null ? { ...found, impact: 'rebuild' } : found;
}

function problem(app: AppName, field: string, message: string, hint: string | null = null): Problem {
  return { file: app, line: 0, column: 0, field, message, hint };
}
