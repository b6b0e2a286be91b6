import { processOf } from '../model/app-spec.ts';
import {
  parseInstanceId,
  subjectOfInstance,
  type AppName,
  type InstanceId,
  type InstantMs,
  type NodeName,
} from '../model/ids.ts';
import type { RunningBody } from '../model/node-promise.ts';
import type { AppRecord } from '../model/records.ts';
import type { Pool, PoolServer } from '../model/traffic.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Proxy } from '../ports/proxy.ts';
import { heldHostnames } from '../model/rollout.ts';
import { wantedRelease } from '../reconcile/wanted-release.ts';
import { Loop } from './loop.ts';
import type { StaleTokens } from './stale-tokens.ts';
import type { World } from './world.ts';

/** The part of the world a proxy is fed from. */
export type TrafficView = Pick<World, 'apps' | 'owners' | 'promises' | 'sessions'>;

export interface ProxyLoopOptions {
  world: TrafficView;
  proxy: Proxy;
  stale: Pick<StaleTokens, 'refused'>;
  clock: Clock;
  log: Log;
}

/** How soon a proxy that died is started again. */
const ROUND_MS = 1000;
const REPEAT_MS = 60_000;
/** By then the mirror of the sessions has heard what that of the promises has, unless it is cut off as well. */
const CAUGHT_UP_MS = 3000;

interface Remembered {
  promiser: NodeName;
  body: RunningBody;
  /** What its promise was attached to. */
  lease: string | null;
  /** When, and at which revision, its promise was seen to be gone; null while it stands. */
  gone: { atMs: InstantMs; revision: bigint } | null;
}

/**
 * Feeds the proxy from the promises of ready instances. An expired promise alone takes nothing out that still answers:
 * the last known endpoint stays, under the proxy's own checks, until another node is ready with that instance.
 */
export class ProxyLoop {
  readonly #options: ProxyLoopOptions;
  readonly #loop: Loop;
  /** By instance and node. */
  readonly #known = new Map<string, Remembered>();
  /** Of those, the ones that are not sent requests because they are not owned any more. */
  readonly #refused = new Map<string, { sinceMs: InstantMs; told: boolean }>();
  #started = false;
  /** What keeps the proxy from working, as it was last told; null = nothing. */
  #trouble: { message: string; toldMs: number } | null = null;
  #stopListening: (() => void)[] = [];

  constructor(options: ProxyLoopOptions) {
    this.#options = options;
    this.#loop = new Loop({
      name: 'proxy',
      clock: options.clock,
      log: options.log,
      everyMs: ROUND_MS,
      round: () => this.#round(),
    });
  }

  start(): void {
    const { world } = this.#options;
    this.#stopListening = [
      world.apps.onChange(() => this.#loop.wake()),
      world.owners.onChange(() => this.#loop.wake()),
      world.promises.onChange(() => this.#loop.wake()),
      world.sessions.onChange(() => this.#loop.wake()),
    ];
    this.#loop.start();
  }

  async stop(): Promise<void> {
    for (const stop of this.#stopListening) stop();
    await this.#loop.stop();
  }

  /** What stands in the proxy's way (a port that is taken, one that was just killed) is told once, and tried again each round. */
  async #round(): Promise<null> {
    try {
      await this.#feed();
    } catch (error) {
      if (!isOperatingError(error)) throw error;
      this.#tell(error);
      return null;
    }
    if (this.#trouble) this.#options.log.info('the proxy works again', { after: this.#trouble.message });
    this.#trouble = null;
    return null;
  }

  async #feed(): Promise<void> {
    const { proxy, world, log } = this.#options;
    if (!this.#started) {
      await proxy.start();
      this.#started = true;
    }
    const { apps, owners, promises, sessions } = world;
    if (!apps.synced || !owners.synced || !promises.synced || !sessions.synced) return;
    this.#remember();
    const report = await proxy.apply(this.#pools());
    if (report.reloaded) log.warn('the proxy was reloaded: its prepared slots did not suffice');
  }

  #tell(error: Error): void {
    const { clock, log } = this.#options;
    const { message } = error;
    const nowMs = clock.now();
    if (this.#trouble?.message === message && nowMs - this.#trouble.toldMs < REPEAT_MS) return;
    this.#trouble = { message, toldMs: nowMs };
    log.error(message);
  }

  #remember(): void {
    const { clock, world } = this.#options;
    const { promises } = world;
    const standing = new Map<string, RunningBody>();
    for (const { value, lease } of promises.all()) {
      const { body, promiser } = value.promise;
      if (body.kind !== 'running') continue;
      const key = `${body.instance}@${promiser}`;
      standing.set(key, body);
      this.#known.set(key, { promiser, body, lease, gone: null });
    }
    for (const [key, remembered] of this.#known) {
      if (standing.has(key)) continue;
      remembered.gone ??= { atMs: clock.now(), revision: promises.revision };
      if (this.#isOutOfThePicture(remembered, [...standing.values()])) this.#known.delete(key);
    }
  }

  /**
   * Of an instance whose promise is gone: whether nothing is to be sent there any more. Its promise was taken back if
   * the lease it was on still holds the session; the mirror of the sessions may learn later than that of the promises
   * that both have expired, so until it has caught up nothing is decided.
   */
  #isOutOfThePicture({ body, lease, gone }: Remembered, standing: RunningBody[]): boolean {
    const { clock, world } = this.#options;
    const { sessions } = world;
    if (!body.ready || !this.#isWanted(body)) return true;
    if (standing.some(other => isInstead(other, body))) return true;
    if (gone === null) return false;
    if (sessions.revision < gone.revision && clock.now() < gone.atMs + CAUGHT_UP_MS) return false;
    return sessions.all().some(session => session.lease === lease);
  }

  #isWanted({ instance }: RunningBody): boolean {
    const { app, process, index } = parseInstanceId(instance);
    const record = this.#options.world.apps.get(app)?.value;
    return record !== undefined && wantedRelease(record, process, index) !== null;
  }

  /** Of what is exclusive only the copy that runs under the token in force gets requests, however well another answers. */
  #mayServe({ promiser, body, lease, gone }: Remembered): boolean {
    const { apps, owners, sessions } = this.#options.world;
    const record = apps.get(body.app)?.value;
    if (!record || processOf(record.spec, body.process)?.exclusive !== true) return true;
    const owner = owners.get(subjectOfInstance(body.instance))?.value;
    if (gone !== null || owner?.node !== promiser || owner.released !== null) return false;
    // A promise is on the lease of the session that made it: so this one was made under that very ownership.
    return sessions.get(`${owner.node}/${owner.incarnation}`)?.lease === lease;
  }

  /**
   * Copies that say they are ready under an ownership that is over; each is told once. A promise may be heard before the
   * owner key that it was made under.
   */
  #tellStale(serving: ReadonlySet<string>): void {
    const { clock, stale } = this.#options;
    for (const key of this.#refused.keys())
      if (!this.#known.has(key) || serving.has(key)) this.#refused.delete(key);
    for (const [key, { body, promiser, lease, gone }] of this.#known) {
      if (serving.has(key) || !body.ready || gone !== null) continue;
      const refused = this.#refused.get(key) ?? { sinceMs: clock.now(), told: false };
      this.#refused.set(key, refused);
      if (refused.told || clock.now() < refused.sinceMs + CAUGHT_UP_MS) continue;
      refused.told = true;
      const subject = subjectOfInstance(body.instance);
      stale.refused({ use: 'route', subject, by: promiser, token: lease ?? 'none' });
    }
  }

  /**
   * When traffic has been switched, what stood ready beside gets it all at once: each proxy goes by the app's record, not
   * by when the nodes have made it their own.
   */
  #switched(record: AppRecord, bodies: RunningBody[]): RunningBody[] {
    const standbys = this.#options.world.promises
      .all()
      .flatMap(({ value: { promise } }) => (promise.body.kind === 'standby' ? [promise.body] : []))
      .filter(body => body.app === record.app)
      .filter(({ process, index, version }) => {
        const wanted = wantedRelease(record, process, index);
        return wanted?.serves === 'now' && wanted.version === version;
      });
    if (standbys.length === 0) return bodies;
    const replaced = new Map(standbys.map(body => [body.instance, body]));
    const isOld = (body: RunningBody): boolean => {
      const next = replaced.get(body.instance);
      return next !== undefined && body.version !== next.version;
    };
    return [
      ...bodies.map(body => (isOld(body) ? { ...body, ready: false, state: 'stopping' as const } : body)),
      ...standbys.map((body): RunningBody => ({
        ...body,
        kind: 'running',
        state: 'running',
        ready: true,
        pid: null,
        trouble: null,
      })),
    ];
  }

  #pools(): Pool[] {
    const serving = [...this.#known].filter(([, known]) => this.#mayServe(known));
    this.#tellStale(new Set(serving.map(([key]) => key)));
    const bodies = serving.map(([, { body }]) => body);
    return this.#options.world.apps
      .all()
      .map(entry => entry.value)
      .filter(record => !record.removing)
      .map(record => poolOf(record, this.#switched(record, bodies)))
      .filter(pool => pool.hostnames.length > 0);
  }
}

function poolOf(record: AppRecord, bodies: RunningBody[]): Pool {
  const { app, spec, rollout } = record;
  // One path for all: while old and new copies answer different ones, only the connection is checked.
  const samePath = !rollout || rollout.before.spec.healthcheck.path === spec.healthcheck.path;
  return {
    app,
    hostnames: heldHostnames(record).filter(hostname => hostname !== '_'),
    checkPath: samePath ? spec.healthcheck.path : null,
    servers: serversOf(app, bodies).sort(byInstance),
  };
}

/** Where no instance is healthy, one that fails its health check may still answer better than nobody. */
function serversOf(app: AppName, bodies: RunningBody[]): PoolServer[] {
  const own = bodies.filter(body => body.app === app);
  const isAnyReady = own.some(body => body.ready);
  return own.flatMap((body): PoolServer[] => {
    const { instance, endpoint, ready, state } = body;
    if (endpoint === null) return [];
    if (ready || (state === 'unhealthy' && !isAnyReady)) return [{ instance, endpoint, state: 'ready' }];
    return state === 'stopping' || state === 'unhealthy' ? [{ instance, endpoint, state: 'drain' }] : [];
  });
}

/** Another is ready as the same instance, or listens at the same address. */
function isInstead(other: RunningBody, body: RunningBody): boolean {
  if (other.instance === body.instance && other.ready) return true;
  return other.endpoint?.host === body.endpoint?.host && other.endpoint?.port === body.endpoint?.port;
}

function isOperatingError(error: unknown): error is Error {
  return error instanceof Error && 'retryable' in error;
}

function byInstance(a: { instance: InstanceId }, b: { instance: InstanceId }): number {
  return a.instance < b.instance ? -1 : a.instance > b.instance ? 1 : 0;
}
