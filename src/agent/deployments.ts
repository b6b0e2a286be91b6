import type { AppSpec } from '../model/app-spec.ts';
import type { AppName, Digest, NodeName, Timestamp } from '../model/ids.ts';
import type { AppRecord, ArtifactRef } from '../model/records.ts';
import type { ApplyRequest, ApplyResult, DeployProgress } from '../model/views.ts';
import { ArtifactError, type Artifacts, type BuildNote } from '../ports/artifacts.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Random } from '../ports/random.ts';
import type { Entry, Store } from '../ports/store.ts';
import { Channel } from './channel.ts';
import { takeTurn, type Turn } from './deploy-lock.ts';
import { asFoundBefore, DeployChecks, impactOf, sameSource, wantedSpec } from './deploy-checks.ts';
import { hookEnvironment } from './launch.ts';
import { generatedValue } from './generated-value.ts';
import type { Ledger } from './ledger.ts';
import type { SessionKeeper } from './session-keeper.ts';
import type { Supplies } from './supplies.ts';
import { nextRelease, writeRelease, type Made } from './write-release.ts';

/** What the node promises for a deployment it has begun. */
const DEPLOY_WITHIN_MS = 20 * 60_000;

export interface DeploymentsOptions {
  node: NodeName;
  user: string;
  store: Store;
  artifacts: Artifacts;
  supplies: Supplies;
  ledger: Ledger;
  keeper: Pick<SessionKeeper, 'current'>;
  clock: Clock;
  random: Random;
  log: Log;
  onChange: () => void;
  runsCommands: () => boolean;
}

type Tell = (app: AppName, step: string, message: string) => void;

/** Where a deployment tells how it goes, and what ends it. */
interface Progress {
  tell: Tell;
  note: (note: BuildNote) => void;
  signal: AbortSignal;
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
  readonly #checks: DeployChecks;
  readonly #deploying = new Map<AppName, Deploying>();

  constructor(options: DeploymentsOptions) {
    this.#options = options;
    this.#checks = new DeployChecks(options);
  }

  deploying(): Deploying[] {
    return [...this.#deploying.values()];
  }

  /** What would change, and everything that stands against it. @throws StoreError */
  plan(request: ApplyRequest): ReturnType<DeployChecks['plan']> {
    return this.#checks.plan(request);
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
      const { plans, problems } = await this.#checks.plan(request);
      problems.push(...(await this.#checks.missingSources(request.specs)));
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
    const turn = await takeTurn(
      this.#options,
      asked.app,
      message => tell(asked.app, 'lock', message),
      signal,
    );
    try {
      return await this.#deployAlone(asked, turn, tell, output, signal);
    } finally {
      await turn.release();
    }
  }

  async #deployAlone(
    asked: AppSpec,
    turn: Turn,
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
      impact === 'in-place' && current ? current.value.release : await nextRelease(store, spec.app);
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
      const record = await writeRelease(this.#options, made, current, turn.compares);
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

  #newSecrets(spec: AppSpec, known: Record<string, string>): Record<string, string> {
    const made: Record<string, string> = {};
    for (const [name, value] of Object.entries(spec.env)) {
      if (value.kind !== 'generated' || known[name] !== undefined) continue;
      made[name] = generatedValue(value, this.#options.random);
    }
    return made;
  }
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
