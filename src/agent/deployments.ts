import { processOf, type AppSpec } from '../model/app-spec.ts';
import type { AppName, Digest, NodeName, Timestamp } from '../model/ids.ts';
import type { Problem } from '../model/problem.ts';
import type { AppRecord, ArtifactRef } from '../model/records.ts';
import type { ApplyRequest, ApplyResult, AppPlan, DeployProgress } from '../model/views.ts';
import { checkTogether } from '../manifest/check-together.ts';
import { runnable } from '../manifest/runnable.ts';
import { hostnameConflicts } from '../promise/conflicts.ts';
import { classify } from '../reconcile/classify.ts';
import { ArtifactError, type Artifacts, type BuildNote } from '../ports/artifacts.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Random } from '../ports/random.ts';
import { StoreError, type Compare, type Entry, type Store, type Write } from '../ports/store.ts';
import { Channel } from './channel.ts';
import { hookEnvironment } from './launch.ts';
import { generatedValue } from './generated-value.ts';
import type { Ledger } from './ledger.ts';
import type { Supplies } from './supplies.ts';

/** What the node promises for a deployment it has begun. */
const DEPLOY_WITHIN_MS = 20 * 60_000;

export interface DeploymentsOptions {
  node: NodeName;
  user: string;
  store: Store;
  artifacts: Artifacts;
  supplies: Supplies;
  ledger: Ledger;
  clock: Clock;
  random: Random;
  log: Log;
  onChange: () => void;
}

type Tell = (app: AppName, step: string, message: string) => void;

/** Where a deployment tells how it goes, and what ends it. */
interface Progress {
  tell: Tell;
  note: (note: BuildNote) => void;
  signal: AbortSignal;
}

/** Everything of a release but its place in the store. */
interface Made {
  spec: AppSpec;
  release: number;
  artifact: ArtifactRef;
  source: Digest | undefined;
  secrets: Record<string, string>;
}

interface Deploying {
  app: AppName;
  release: number;
  step: string;
  completeBy: Timestamp;
}

/**
 * Turns accepted specs into releases: fetch, build, before-run on this node, then one transaction. Until that
 * transaction nothing anybody runs has changed.
 */
export class Deployments {
  readonly #options: DeploymentsOptions;
  readonly #deploying = new Map<AppName, Deploying>();

  constructor(options: DeploymentsOptions) {
    this.#options = options;
  }

  deploying(): Deploying[] {
    return [...this.#deploying.values()];
  }

  /** What would change, and everything that stands against it. @throws StoreError */
  async plan(request: ApplyRequest): Promise<{ plans: AppPlan[]; problems: Problem[] }> {
    const problems: Problem[] = [];
    const plans: AppPlan[] = [];
    const holders = await this.#holders();
    problems.push(...(await this.#clashes(request.specs)));
    for (const spec of request.specs) {
      const current = await this.#options.store.get('apps', spec.app);
      problems.push(...this.#problems(spec, holders));
      if (request.ifGeneration !== null && current && current.value.generation !== request.ifGeneration) {
        problems.push(
          problem(
            spec.app,
            'metadata.id',
            `"${spec.app}" is at generation ${current.value.generation}, not ${request.ifGeneration}`,
          ),
        );
      }
      const before = wantedSpec(current);
      const { impact, differences } = classify(before, asFoundBefore(spec, before));
      const change = before === null ? 'create' : impact === 'none' ? 'none' : 'update';
      plans.push({ app: spec.app, change, impact, differences });
    }
    return { plans, problems };
  }

  /** Tells as it goes; ends with `done` or `failed`. Never rejects. */
  apply(request: ApplyRequest, signal: AbortSignal): AsyncIterable<DeployProgress> {
    const channel = new Channel<DeployProgress>();
    void this.#apply(request, channel, signal).finally(() => channel.close());
    return channel;
  }

  async #apply(request: ApplyRequest, channel: Channel<DeployProgress>, signal: AbortSignal): Promise<void> {
    let step = { app: request.specs[0]?.app ?? '', name: 'plan' };
    const tell: Tell = (app, name, message) => {
      step = { app, name };
      const deploying = this.#deploying.get(app);
      if (deploying) {
        this.#deploying.set(app, { ...deploying, step: name });
        this.#options.onChange();
      }
      channel.send({ kind: 'step', app, step: name, message });
    };
    try {
      const { plans, problems } = await this.plan(request);
      problems.push(...(await this.#missingSources(request.specs)));
      if (problems.length > 0) {
        channel.send({ kind: 'done', result: { kind: 'refused', problems } });
        return;
      }
      const apps: Extract<ApplyResult, { kind: 'applied' }>['apps'] = [];
      for (const spec of inDependencyOrder(request.specs)) {
        const change = plans.find(plan => plan.app === spec.app)?.change ?? 'update';
        const record = await this.#deploy(
          spec,
          tell,
          (name, text) => channel.send({ kind: 'output', app: spec.app, step: name, text }),
          signal,
        );
        apps.push({ app: spec.app, release: record.release, generation: record.generation, change });
      }
      channel.send({ kind: 'done', result: { kind: 'applied', apps } });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      const output = error instanceof ArtifactError ? error.output : [];
      this.#options.log.warn('a deployment failed', { app: step.app, step: step.name, error });
      this.#options.ledger.note({
        kind: 'deploy-failed',
        subject: `app/${step.app}`,
        message: `${step.app} was not deployed: ${step.name} failed: ${message}`,
        details: { step: step.name, output },
      });
      channel.send({ kind: 'failed', app: step.app, step: step.name, message, output });
    }
  }

  async #deploy(
    asked: AppSpec,
    tell: Tell,
    output: (step: string, text: string) => void,
    signal: AbortSignal,
  ): Promise<AppRecord> {
    const { store, clock, ledger } = this.#options;
    const note = (line: BuildNote): void => output(line.step, line.text);
    const progress = { tell, note, signal };
    const current = await store.get('apps', asked.app);
    const { spec, source } = await this.#resolved(asked, current, progress);
    const { impact, differences } = impactOf(spec, source, current);
    if (current && impact === 'none') {
      tell(
        spec.app,
        'settle',
        `"${spec.app}" is as the manifest wants it already (release ${current.value.release})`,
      );
      return current.value;
    }
    const release =
      impact === 'in-place' && current ? current.value.release : await this.#nextRelease(spec.app);
    this.#deploying.set(spec.app, {
      app: spec.app,
      release,
      step: 'fetch',
      completeBy: clock.timestamp(DEPLOY_WITHIN_MS),
    });
    this.#options.onChange();
    try {
      const kept = current?.value.artifact;
      const mustBuild = impact === 'rebuild' || differences.some(({ field }) => isBuiltFrom(field));
      const built =
        kept && !mustBuild ? { artifact: kept, source } : await this.#build(spec, source, progress);
      const secrets = { ...current?.value.secrets, ...this.#newSecrets(spec, current?.value.secrets ?? {}) };
      const made: Made = { spec, release, secrets, ...built };
      if (spec.beforeRun.length > 0 && impact !== 'in-place') {
        tell(spec.app, 'before-run', `running ${spec.beforeRun.length} command(s) of release ${release}`);
        await this.#beforeRun(made, progress);
      }
      const record = await this.#commit(made, current);
      tell(spec.app, 'settle', `release ${record.release} of "${spec.app}" is what the cluster wants now`);
      ledger.note({
        kind: 'app-applied',
        subject: `app/${spec.app}`,
        message: `"${spec.app}" is wanted at release ${record.release}, generation ${record.generation}`,
        details: { release: record.release, generation: record.generation, impact },
      });
      return record;
    } finally {
      this.#deploying.delete(spec.app);
      this.#options.onChange();
    }
  }

  /** The spec with all its processes, and the source tree it means where that is known without building. */
  async #resolved(
    asked: AppSpec,
    current: Entry<'apps'> | null,
    { tell, note, signal }: Progress,
  ): Promise<{ spec: AppSpec; source: Digest | undefined }> {
    const { supplies } = this.#options;
    const before = wantedSpec(current);
    const spec = asFoundBefore(asked, before);
    // What a git ref names may have moved, whatever the manifest says.
    if (spec.processes.length > 0 && spec.source?.kind !== 'git') {
      return { spec, source: sameSource(spec, before) ? current?.value.source : undefined };
    }
    tell(spec.app, 'fetch', 'looking into the source');
    const source = await supplies.source(asked, undefined, note, signal);
    return { spec: await supplies.complete(asked, source), source };
  }

  async #build(
    spec: AppSpec,
    known: Digest | undefined,
    { tell, note, signal }: Progress,
  ): Promise<{ artifact: ArtifactRef; source: Digest | undefined }> {
    tell(spec.app, 'build', 'fetching and building');
    const { artifacts, supplies } = this.#options;
    const source = await supplies.source(spec, known, note, signal);
    const artifact = await artifacts.build(
      { ...spec, source: { kind: 'uploaded', digest: source } },
      note,
      signal,
    );
    tell(spec.app, 'publish', `artifact ${artifact.digest} (${Math.ceil(artifact.bytes / 1024)} KiB)`);
    // Whoever is to run it asks around at once, and has to hear of this node.
    await supplies.promised(artifact.digest, signal);
    return { artifact, source };
  }

  async #beforeRun({ spec, artifact, release, secrets }: Made, { note, signal }: Progress): Promise<void> {
    const { artifacts, supplies, node, user } = this.#options;
    await supplies.bring(artifact.digest, signal);
    const unpacked = await artifacts.unpack(artifact.digest, spec.app, release);
    const env = hookEnvironment(spec, { ...unpacked, node, user, secrets });
    await artifacts.runHooks(spec.beforeRun, { directory: unpacked.directory, env }, note, signal);
  }

  async #commit(
    { spec, release, artifact, source, secrets }: Made,
    current: Entry<'apps'> | null,
  ): Promise<AppRecord> {
    const { store, clock } = this.#options;
    const at = clock.timestamp();
    const record: AppRecord = {
      v: 1,
      app: spec.app,
      release,
      generation: (current?.value.generation ?? 0) + 1,
      spec,
      artifact,
      ...(source === undefined ? {} : { source }),
      restarts: current?.value.release === release ? current.value.restarts : {},
      secrets,
      removing: false,
      appliedAt: at,
    };
    const compares: Compare[] = [
      current
        ? { kind: 'apps', name: spec.app, revision: current.revision }
        : { kind: 'apps', name: spec.app, is: 'absent' },
    ];
    const writes: Write[] = [{ put: 'apps', name: spec.app, value: record }];
    if (current?.value.release !== release) {
      const name = releaseName(spec.app, release);
      compares.push({ kind: 'releases', name, is: 'absent' });
      writes.push({ put: 'releases', name, value: { v: 1, app: spec.app, release, spec, artifact, at } });
    }
    for (const hostname of spec.hostnames) {
      const holder = await store.get('hostnames', hostname);
      compares.push(
        holder
          ? { kind: 'hostnames', name: hostname, revision: holder.revision }
          : { kind: 'hostnames', name: hostname, is: 'absent' },
      );
      if (holder && holder.value.app !== spec.app)
        throw new Error(`host name "${hostname}" is held by app "${holder.value.app}"`);
      if (!holder) writes.push({ put: 'hostnames', name: hostname, value: { v: 1, app: spec.app } });
    }
    for (const hostname of current?.value.spec.hostnames ?? []) {
      if (!spec.hostnames.includes(hostname)) writes.push({ delete: 'hostnames', name: hostname });
    }
    const result = await store.commit(compares, writes);
    if (result.kind === 'refused') {
      throw new StoreError(
        `"${spec.app}", or a host name of it, was changed by somebody else meanwhile: nothing was changed; try again`,
        {
          outcome: 'refused',
          retryable: true,
        },
      );
    }
    return record;
  }

  async #nextRelease(app: AppName): Promise<number> {
    const { entries } = await this.#options.store.list('releases', { prefix: `${app}/` });
    return (entries.at(-1)?.value.release ?? 0) + 1;
  }

  async #holders(): Promise<Map<string, AppName>> {
    const { entries } = await this.#options.store.list('hostnames');
    return new Map(entries.map(entry => [entry.name, entry.value.app]));
  }

  /** Between the specs of one request, and circles that these would close. @throws StoreError */
  async #clashes(specs: AppSpec[]): Promise<Problem[]> {
    const asked = new Set(specs.map(spec => spec.app));
    const { entries } = await this.#options.store.list('apps');
    const others = entries.filter(({ name, value }) => !asked.has(name) && !value.removing);
    return checkTogether([
      ...specs.map(spec => ({ spec, file: spec.app, line: 0 })),
      // Whose host names they hold is known better from the host names themselves.
      ...others.map(({ name, value }) => ({ spec: { ...value.spec, hostnames: [] }, file: name, line: 0 })),
    ]);
  }

  /** Asked only when it is to be deployed: a plan is made before anything is uploaded. @throws StoreError */
  async #missingSources(specs: AppSpec[]): Promise<Problem[]> {
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
    return problems;
  }

  #newSecrets(spec: AppSpec, known: Record<string, string>): Record<string, string> {
    const made: Record<string, string> = {};
    for (const [name, value] of Object.entries(spec.env)) {
      if (value.kind !== 'generated' || known[name] !== undefined) continue;
      made[name] = generatedValue(value, this.#options.random);
    }
    return made;
  }
}

function releaseName(app: AppName, release: number): string {
  return `${app}/${String(release).padStart(6, '0')}`;
}

function wantedSpec(current: Entry<'apps'> | null): AppSpec | null {
  return current && !current.value.removing ? current.value.spec : null;
}

function sameSource(a: AppSpec, b: AppSpec | null): boolean {
  return b !== null && JSON.stringify([a.source, a.build]) === JSON.stringify([b.source, b.build]);
}

/** A spec whose process was found in the same source before has that process, as far as one can tell without looking. */
function asFoundBefore(spec: AppSpec, before: AppSpec | null): AppSpec {
  const web = before === null || !sameSource(spec, before) ? null : processOf(before, 'web');
  if (spec.processes.length > 0 || web === null) return spec;
  const { webSettings, ...rest } = spec;
  return { ...rest, processes: [{ ...web, ...webSettings }] };
}

function impactOf(
  spec: AppSpec,
  source: Digest | undefined,
  current: Entry<'apps'> | null,
): Pick<AppPlan, 'impact' | 'differences'> {
  const found = classify(wantedSpec(current), spec);
  const moved = source !== undefined && source !== current?.value.source;
  return moved ? { ...found, impact: 'rebuild' } : found;
}

/** Builders look at variables and commands, too; what they make of the same again is remembered. */
function isBuiltFrom(field: string): boolean {
  return /^(env\.|processes\.[^.]+(\.(kind|command))?$)/.test(field);
}

/** Apps that others in the same request depend on come first. Cycles have been refused before. */
function inDependencyOrder(specs: AppSpec[]): AppSpec[] {
  const ordered = new Set<AppSpec>();
  const visiting = new Set<AppSpec>();
  const visit = (spec: AppSpec): void => {
    if (visiting.has(spec)) return;
    visiting.add(spec);
    for (const other of specs) if (spec.dependsOn.includes(other.app)) visit(other);
    ordered.add(spec);
  };
  specs.forEach(visit);
  return [...ordered];
}

function problem(app: AppName, field: string, message: string, hint: string | null = null): Problem {
  return { file: app, line: 0, column: 0, field, message, hint };
}
