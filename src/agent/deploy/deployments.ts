import type { AppSpec } from '../../model/app-spec.ts';
import { timestampOf, unixMs } from '../../model/civil.ts';
import type { AppName, NodeName, Timestamp } from '../../model/ids.ts';
import type { DeploymentRecord } from '../../model/records.ts';
import type { AppliedApp, ApplyRequest, DeployProgress } from '../../model/views.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { Entry, Store } from '../../ports/store.ts';

import { Channel } from '../channel.ts';
import type { Audience } from './audience.ts';
import { deploymentPlan, deploymentsSeen, originOf } from './deployment-plan.ts';
import { DeploymentFailed, Follow, type Wanted } from './follow.ts';
import { noSession, type TurnSeen, type Turns } from './turns.ts';
import { asFoundBefore, DeployChecks, impactOf, sameSource, wantedSpec } from './deploy-checks.ts';
import type { Platforms } from './platforms.ts';
import type { Ledger } from '../ledger.ts';
import type { PlanEngine } from '../plans/plan-engine.ts';
import type { SessionKeeper } from '../session-keeper.ts';
import type { Supplies } from '../supplies.ts';
import type { World } from '../world.ts';

/** What the node promises for a deployment that it works at. */
const DEPLOY_WITHIN_MS = 20 * 60_000;
const LOOK_AGAIN_MS = 500;

export interface DeploymentsOptions {
  node: NodeName;
  world: World;
  store: Store;
  supplies: Supplies;
  platforms: Platforms;
  engine: PlanEngine;
  turns: Turns;
  audience: Audience;
  ledger: Ledger;
  keeper: Pick<SessionKeeper, 'current'>;
  clock: Clock;
  log: Log;
  runsCommands: () => boolean;
  /** Aborted when the agent stops: what it began goes on without it. */
  stopping: AbortSignal;
}

interface Deploying {
  app: AppName;
  release: number;
  step: string;
  completeBy: Timestamp;
}

type Send = (progress: DeployProgress) => void;

/**
 * Turns accepted specs into releases: a plan for each app, which any node can go on with, and which this one begins and tells of
 * until its release is wanted. Until then nothing anybody runs has changed.
 */
export class Deployments {
  readonly #options: DeploymentsOptions;
  readonly #checks: DeployChecks;

  constructor(options: DeploymentsOptions) {
    this.#options = options;
    this.#checks = new DeployChecks(options);
  }

  /** Those whose release this node is making. */
  deploying(): Deploying[] {
    const { node, world, engine, keeper } = this.#options;
    const incarnation = keeper.current()?.incarnation;
    return deploymentsSeen(engine.open()).flatMap(({ app, plan, step, ...by }) => {
      const record = world.deploys.get(app)?.value;
      if (by.node !== node || by.incarnation !== incarnation || by.undoing) return [];
      if (record?.plan !== plan || record.draft === null) return [];
      const completeBy = timestampOf(unixMs(record.since) + DEPLOY_WITHIN_MS);
      return { app, release: record.draft.release, step, completeBy };
    });
  }

  /** What would change, and everything that stands against it. @throws StoreError */
  plan(request: ApplyRequest): ReturnType<DeployChecks['plan']> {
    return this.#checks.plan(request);
  }

  /**
   * Tells as it goes; ends with `done` or `failed`, or with neither when this agent stops meanwhile. Never rejects. Whoever asked
   * and leaves cancels what is not wanted yet.
   */
  apply(request: ApplyRequest, signal: AbortSignal): AsyncIterable<DeployProgress> {
    const channel = new Channel<DeployProgress>();
    void this.#apply(request, progress => channel.send(progress), signal).finally(() => channel.close());
    return channel;
  }

  async #apply(request: ApplyRequest, send: Send, signal: AbortSignal): Promise<void> {
    const { stopping } = this.#options;
    let step = { app: request.specs[0]?.app ?? '', name: 'plan' };
    const tell: Send = progress => {
      if (progress.kind === 'step') step = { app: progress.app, name: progress.step };
      send(progress);
    };
    try {
      const { plans, problems } = await this.#checks.plan(request);
      problems.push(...(await this.#checks.missingSources(request.specs)));
      if (problems.length > 0) {
        send({ kind: 'done', result: { kind: 'refused', problems } });
        return;
      }
      const apps: AppliedApp[] = [];
      for (const spec of inDependencyOrder(request.specs)) {
        const { app } = spec;
        const change = plans.find(plan => plan.app === app)?.change ?? 'update';
        step = { app, name: 'plan' };
        const applied = { app, change, ...(await this.#deploy(spec, tell, signal)) };
        send({ kind: 'wanted', ...applied });
        apps.push(applied);
      }
      send({ kind: 'done', result: { kind: 'applied', apps } });
    } catch (error) {
      // Nobody is there to be told, and that is no failure.
      if (stopping.aborted || error === signal.reason) return;
      this.#failed(step, error, send);
    }
  }

  #failed({ app, name }: { app: AppName; name: string }, error: unknown, send: Send): void {
    const { ledger, log } = this.#options;
    const message = error instanceof Error ? error.message : String(error);
    if (error instanceof DeploymentFailed) {
      send({ kind: 'failed', app, step: error.step, message, output: error.output });
      return;
    }
    log.warn('a deployment failed', { app, step: name, error });
    ledger.note({
      kind: 'deploy-failed',
      subject: `app/${app}`,
      message: `${app} was not deployed: ${name} failed: ${message}`,
      details: { step: name, output: [] },
    });
    send({ kind: 'failed', app, step: name, message, output: [] });
  }

  async #deploy(asked: AppSpec, send: Send, signal: AbortSignal): Promise<Wanted> {
    const { node, engine, clock, stopping } = this.#options;
    const { plans } = engine;
    const follow = new Follow({ node, plans, clock }, asked.app, send);
    const begun = await this.#begin(asked, follow, send, signal);
    if ('release' in begun) return begun;
    const { plan, hush } = begun;
    try {
      return await follow.untilWanted(plan, AbortSignal.any([signal, stopping]));
    } catch (error) {
      if (signal.aborted && !stopping.aborted) await this.#cancel(plan, asked.app);
      throw error;
    } finally {
      hush();
    }
  }

  /** Nobody is there any more who could be told that it went on all the same. */
  async #cancel(plan: string, app: AppName): Promise<void> {
    const { engine, ledger, log } = this.#options;
    try {
      await engine.plans.cancel(plan, 'whoever asked for it');
    } catch (error) {
      log.warn('a deployment that nobody waits for any more could not be cancelled', { app, plan, error });
      return;
    }
    ledger.note({
      kind: 'deploy-cancelled',
      subject: `app/${app}`,
      message: `"${app}" is not deployed: whoever asked for it has left before its release was wanted`,
      details: { plan },
    });
  }

  /** Waits for the turn, and takes it with the plan; or finds that there is nothing to be done. */
  async #begin(
    asked: AppSpec,
    follow: Follow,
    send: Send,
    signal: AbortSignal,
  ): Promise<{ plan: string; hush: () => void } | Wanted> {
    const { node, store, keeper, turns, platforms, ledger, clock } = this.#options;
    const { app } = asked;
    const tell = (step: string, message: string): void => send({ kind: 'step', app, step, message });
    let told = '';
    for (;;) {
      signal.throwIfAborted();
      if (keeper.current() === null) throw noSession(node);
      const [turn, current] = await Promise.all([turns.look(app), store.get('apps', app)]);
      if (turn.kind === 'taken') {
        const { plan, node: by, since } = turn.by;
        if (plan !== told) tell('lock', `waits for ${by}, which deploys it since ${since}, as plan ${plan}`);
        told = plan;
        await clock.sleep(LOOK_AGAIN_MS, signal);
        continue;
      }
      if (current && isAsAsked(asked, current, platforms)) {
        const { release, generation } = current.value;
        tell('settle', `"${app}" is as the manifest wants it already (release ${release})`);
        return { release, generation };
      }
      const begun = await this.#submit(asked, turn, follow);
      if (begun === null) continue;
      const { plan } = begun;
      send({ kind: 'begun', app, plan });
      ledger.note({
        kind: 'deploy-begun',
        subject: `app/${app}`,
        message: `${node} begins to deploy "${app}", as plan ${plan}`,
        details: { plan },
      });
      return begun;
    }
  }

  /** null = somebody else took the turn. */
  async #submit(
    asked: AppSpec,
    { compares }: Extract<TurnSeen, { kind: 'free' }>,
    follow: Follow,
  ): Promise<{ plan: string; hush: () => void } | null> {
    const { node, engine, audience, clock } = this.#options;
    const { app } = asked;
    const origin = originOf(app);
    let hush = (): void => undefined;
    const submitted = await engine
      .submitOwn({ spec: deploymentPlan(asked), idempotencyKey: null, digest: '', origin }, plan => {
        // Before it begins: what is done first is to be heard, too.
        hush = audience.listen(plan, follow.hear);
        const since = clock.timestamp();
        const value: DeploymentRecord = { v: 1, app, plan, node, since, asked, token: '0', draft: null };
        return { compares, writes: [{ put: 'deploys', name: app, value }] };
      })
      .catch((error: unknown) => {
        hush();
        throw error;
      });
    if (submitted.kind === 'created') return { plan: submitted.plan.id, hush };
    hush();
    return null;
  }
}

/** As far as can be told without looking into the source. */
function isAsAsked(asked: AppSpec, current: Entry<'apps'>, platforms: Platforms): boolean {
  const before = wantedSpec(current);
  const spec = asFoundBefore(asked, before);
  if (spec.processes.length === 0 || spec.source?.kind === 'git') return false;
  const source = sameSource(spec, before) ? current.value.source : undefined;
  const lost = platforms.lost(spec, current.value.artifact);
  return impactOf(spec, source, current, lost).impact === 'none';
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
