import type { AppSpec } from '../../model/app-spec.ts';
import type { Digest, NodeName } from '../../model/ids.ts';
import type { AppRecord, ArtifactRef, ReleaseDraft } from '../../model/records.ts';
import { ArtifactError, type Artifacts, type BuildNote } from '../../ports/artifacts.ts';
import type { Random } from '../../ports/random.ts';
import type { StepTask } from '../../ports/step-agents.ts';
import type { Store } from '../../ports/store.ts';
import { asFoundBefore, impactOf, sameSource, wantedSpec } from './deploy-checks.ts';
import { generatedValue } from './generated-value.ts';
import { hookEnvironment } from '../launch.ts';
import { runsOn } from '../../model/platform.ts';
import type { Supplies } from '../supplies.ts';
import type { Platforms } from './platforms.ts';
import { nextRelease } from './write-release.ts';
import { HopelessDeployment } from './hopeless.ts';
import type { HeldTurn, Turns } from './turns.ts';

export interface PreparingOptions {
  node: NodeName;
  user: string;
  store: Pick<Store, 'get' | 'list'>;
  artifacts: Artifacts;
  supplies: Supplies;
  turns: Turns;
  platforms: Platforms;
  random: Random;
  /** This node holds something that it did not. */
  onHeld: () => void;
}

/** One attempt at a step of a deployment. */
export interface Doing {
  task: StepTask;
  signal: AbortSignal;
  /** For whoever watches. */
  say: (message: string) => void;
  note: (note: BuildNote) => void;
}

/** What a step has come to: what it gives, with words for people; null = there was nothing to do. */
export type Done = ({ message: string } & Record<string, unknown>) | null;

/**
 * The steps of a deployment until its release is wanted: until then nothing that anybody runs has changed. What one of them makes
 * is in the deployment's record, and on two nodes, so that another node can do the next.
 */
export class Preparing {
  readonly #options: PreparingOptions;

  constructor(options: PreparingOptions) {
    this.#options = options;
  }

  /** Looks at what is there and at what is to be, and gets the source tree here if it has to be built. */
  async fetch(doing: Doing): Promise<Done> {
    const { store, supplies, turns, platforms } = this.#options;
    const { task, signal, say } = doing;
    const [held, current] = await Promise.all([turns.mine(task), store.get('apps', task.work.resource)]);
    const { asked } = held.value;
    const before = wantedSpec(current);
    let spec = asFoundBefore(asked, before);
    let source = sameSource(spec, before) ? current?.value.source : undefined;
    // What a git ref names may have moved, whatever the manifest says.
    if (spec.processes.length === 0 || spec.source?.kind === 'git') {
      say('looking into the source');
      source = await this.#source(asked, undefined, doing);
      spec = await supplies.complete(asked, source);
    }
    const lost = platforms.lost(spec, current?.value.artifact);
    if (lost !== null) say(`no node of ${lost} is left, as it was built for`);
    const { impact, differences } = impactOf(spec, source, current, lost);
    const keeps = impact === 'none' || impact === 'in-place' ? current?.value.release : undefined;
    const release = keeps ?? (await nextRelease(store, spec.app));
    const kept = current?.value.artifact ?? undefined;
    const mustBuild = impact === 'rebuild' || differences.some(({ field }) => isBuiltFrom(field));
    const builds = mustBuild || kept === undefined;
    if (builds) {
      source = await this.#source(spec, source, doing);
      await this.#promised(source, signal);
    }
    const draft: ReleaseDraft = {
      spec,
      release,
      before: current ? { release: current.value.release, generation: current.value.generation } : null,
      impact: current ? impact : 'rebuild',
      ...(source === undefined ? {} : { source }),
      ...(current?.value.artifact ? { platform: current.value.artifact.platform } : {}),
      secrets: this.#secrets(spec, current?.value),
    };
    const artifact = builds ? await this.#builtBefore(draft, signal) : kept;
    await turns.write(held, task, { ...draft, ...(artifact && { artifact }) });
    if (!builds) return null;
    const copied = await this.#copied(source ?? '', 'the source', signal);
    return { message: artifact ? `${copied}; it was built before` : copied, source };
  }

  async build(doing: Doing): Promise<Done> {
    const { artifact, built } = await this.#artifact(doing);
    return built === null ? null : { message: built, artifact };
  }

  async publish(doing: Doing): Promise<Done> {
    const { impact } = draftOf(await this.#options.turns.mine(doing.task));
    if (impact === 'none' || impact === 'in-place') return null;
    const { artifact, built } = await this.#artifact(doing);
    const what = `artifact ${artifact.digest} (${sizeOf(artifact)})`;
    return { message: after(built, await this.#copied(artifact.digest, what, doing.signal)), artifact };
  }

  /** Each attempt runs each command at most once; one that follows on a lost one runs all of them again, and says so. */
  async beforeRun(doing: Doing): Promise<Done> {
    const { artifacts, supplies, turns, platforms, node, user } = this.#options;
    const { task, signal, say, note } = doing;
    const draft = draftOf(await turns.mine(task));
    const { spec, release, impact, secrets } = draft;
    if (impact === 'none' || impact === 'in-place') return null;
    const { artifact, built } = await this.#artifact(doing);
    if (spec.beforeRun.length === 0) return built === null ? null : { message: built, artifact };
    if (!runsOn(artifact.platform, platforms.own))
      throw new Error(`it was built for ${artifact.platform ?? ''}, and ${node} is ${platforms.own}`);
    const again = task.attempt > 1 ? `, again: attempt ${task.attempt - 1} may have run some of them` : '';
    say(`running ${spec.beforeRun.length} command(s) of release ${release}${again}`);
    await supplies.bring(artifact.digest, signal);
    const unpacked = await artifacts.unpack(artifact.digest, spec.app, release);
    const env = {
      ...hookEnvironment(spec, { ...unpacked, node, user, secrets }),
      HOP3_RELEASE: String(release),
      HOP3_PLAN: task.plan,
      HOP3_ATTEMPT: String(task.attempt),
      HOP3_FENCING_TOKEN: task.token,
    };
    await artifacts.runHooks(spec.beforeRun, { directory: unpacked.directory, env }, note, signal);
    const ran = `${spec.beforeRun.length} command(s) of release ${release} ran on ${node}${again}`;
    return { message: after(built, ran) };
  }

  /** What is done next makes it wanted: whoever has it, or could run it, may have gone since. In words, if so; null = no. */
  async beforeRoll(doing: Doing): Promise<string | null> {
    const held = await this.#options.turns.heldFor(doing.task);
    const impact = held?.value.draft?.impact ?? 'none';
    return impact === 'none' || impact === 'in-place' ? null : (await this.#artifact(doing)).built;
  }

  /** What has been built; built here, in words, if nobody has it or nobody is left who could run it: null = that was not needed. */
  async #artifact(doing: Doing): Promise<{ artifact: ArtifactRef; built: string | null }> {
    const { artifacts, supplies, turns, platforms } = this.#options;
    const { task, signal, say, note } = doing;
    const held = await turns.mine(task);
    const draft = draftOf(held);
    const { spec, artifact: before } = draft;
    const lost = platforms.lost(spec, before);
    if (before !== undefined && lost === null && (await supplies.canBeHad(before.digest)))
      return { artifact: before, built: null };
    if (platforms.areOthers(draft))
      throw new Error(`it is for nodes of another platform than ${platforms.own}`);
    const why =
      lost === null ? 'nobody has what was built' : `no node of ${lost} is left, as it was built for`;
    const anew = before === undefined ? '' : ` anew: ${why}`;
    say(`building${anew}`);
    const source = await this.#source(spec, draft.source, doing);
    const artifact = await artifacts.build(uploaded(spec, source), note, signal);
    // Whoever is to run it asks around at once, and has to hear of this node.
    await this.#promised(artifact.digest, signal);
    await turns.write(held, task, { ...draft, source, artifact });
    return { artifact, built: `built ${sizeOf(artifact)}${anew}` };
  }

  async #builtBefore(draft: ReleaseDraft, signal: AbortSignal): Promise<ArtifactRef | undefined> {
    const { artifacts, platforms } = this.#options;
    const { spec, source } = draft;
    if (source === undefined || platforms.areOthers(draft)) return undefined;
    const artifact = await artifacts.builtBefore(uploaded(spec, source), source);
    if (artifact !== null) await this.#promised(artifact.digest, signal);
    return artifact ?? undefined;
  }

  /** What another node can't send may come later; what can't be had from where the manifest says is for a person to see to. */
  async #source(spec: AppSpec, known: Digest | undefined, { note, signal }: Doing): Promise<Digest> {
    try {
      return await this.#options.supplies.source(spec, known, note, signal);
    } catch (error) {
      if (!(error instanceof ArtifactError) || spec.source?.kind === 'uploaded') throw error;
      const { message, output } = error;
      throw new ArtifactError(message, { retryable: false, output, cause: error });
    }
  }

  async #promised(digest: string, signal: AbortSignal): Promise<void> {
    this.#options.onHeld();
    await this.#options.supplies.promised(digest, signal);
  }

  /** In words, once another node has it too: the loss of either loses nothing. */
  async #copied(digest: string, what: string, signal: AbortSignal): Promise<string> {
    const { supplies, node } = this.#options;
    const other = await supplies.copied(digest, signal);
    return `${what} is on ${other === null ? `${node} alone` : `${node} and ${other}`}`;
  }

  #secrets(spec: AppSpec, current: AppRecord | undefined): Record<string, string> {
    const secrets = { ...current?.secrets };
    for (const [name, value] of Object.entries(spec.env)) {
      if (value.kind !== 'generated' || secrets[name] !== undefined) continue;
      secrets[name] = generatedValue(value, this.#options.random);
    }
    return secrets;
  }
}

/** @throws HopelessDeployment */
export function draftOf({ value: { draft, app } }: HeldTurn): ReleaseDraft {
  if (draft !== null) return draft;
  throw new HopelessDeployment(`nobody has looked into what is to be deployed of "${app}": deploy it again`);
}

/** Builders look at variables and commands, too; what they make of the same again is remembered. */
function isBuiltFrom(field: string): boolean {
  return /^(env\.|processes\.[^.]+(\.(kind|command))?$)/.test(field);
}

function uploaded(spec: AppSpec, digest: Digest): AppSpec {
  return { ...spec, source: { kind: 'uploaded', digest } };
}

/** With what had to be done before. */
function after(built: string | null, message: string): string {
  return built === null ? message : `${built}; ${message}`;
}

function sizeOf({ bytes }: ArtifactRef): string {
  return `${Math.ceil(bytes / 1024)} KiB`;
}
