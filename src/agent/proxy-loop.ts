import type { AppName, InstanceId, InstantMs } from '../model/ids.ts';
import type { RunningBody } from '../model/node-promise.ts';
import type { Pool, PoolServer } from '../model/traffic.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Proxy } from '../ports/proxy.ts';
import { Loop } from './loop.ts';
import type { World } from './world.ts';

/** The part of the world a proxy is fed from. */
export type TrafficView = Pick<World, 'apps' | 'promises' | 'sessions'>;

export interface ProxyLoopOptions {
  world: TrafficView;
  proxy: Proxy;
  clock: Clock;
  log: Log;
}

interface Remembered {
  body: RunningBody;
  node: string;
  /** When its promise was seen to be gone; null while it stands. */
  goneMs: InstantMs | null;
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
  #started = false;
  #stopListening: (() => void)[] = [];

  constructor(options: ProxyLoopOptions) {
    this.#options = options;
    this.#loop = new Loop({
      name: 'proxy',
      clock: options.clock,
      log: options.log,
      everyMs: 2000,
      round: () => this.#round(),
    });
  }

  start(): void {
    const { world } = this.#options;
    this.#stopListening = [
      world.apps.onChange(() => this.#loop.wake()),
      world.promises.onChange(() => this.#loop.wake()),
      world.sessions.onChange(() => this.#loop.wake()),
    ];
    this.#loop.start();
  }

  async stop(): Promise<void> {
    for (const stop of this.#stopListening) stop();
    await this.#loop.stop();
  }

  async #round(): Promise<null> {
    const { proxy, world, log } = this.#options;
    if (!this.#started) {
      await proxy.start();
      this.#started = true;
    }
    if (!world.apps.synced || !world.promises.synced || !world.sessions.synced) return null;
    this.#remember();
    const report = await proxy.apply(this.#pools());
    if (report.reloaded) log.warn('the proxy was reloaded: its prepared slots did not suffice');
    return null;
  }

  #remember(): void {
    const { world, clock } = this.#options;
    const standing = new Set<string>();
    for (const { value } of world.promises.all()) {
      const { body, promiser } = value.promise;
      if (body.kind !== 'running' || body.endpoint === null) continue;
      const key = `${body.instance}@${promiser}`;
      standing.add(key);
      this.#known.set(key, { body, node: promiser, goneMs: null });
    }
    for (const [key, remembered] of this.#known) {
      if (standing.has(key)) continue;
      const sessionLives = world.sessions.all().some(entry => entry.value.node === remembered.node);
      // Withdrawn by a node that is there, or replaced by another's: only then is it out of the picture.
      if (sessionLives || this.#readyElsewhere(remembered, standing)) this.#known.delete(key);
      else remembered.goneMs ??= clock.now();
    }
  }

  #readyElsewhere(remembered: Remembered, standing: ReadonlySet<string>): boolean {
    return [...standing].some(key => {
      const other = this.#known.get(key);
      return other?.body.instance === remembered.body.instance && other.body.ready;
    });
  }

  #pools(): Pool[] {
    const servers = new Map<AppName, PoolServer[]>();
    for (const { body } of this.#known.values()) {
      const state = serverState(body);
      if (state === null || body.endpoint === null) continue;
      servers.set(body.app, [
        ...(servers.get(body.app) ?? []),
        { instance: body.instance, endpoint: body.endpoint, state },
      ]);
    }
    return this.#options.world.apps
      .all()
      .map(entry => entry.value)
      .filter(record => record.spec.hostnames.length > 0 && !record.removing)
      .map(record => ({
        app: record.app,
        hostnames: record.spec.hostnames.filter(hostname => hostname !== '_'),
        checkPath: record.spec.healthcheck.path,
        servers: (servers.get(record.app) ?? []).sort(byInstance),
      }))
      .filter(pool => pool.hostnames.length > 0);
  }
}

function serverState(body: RunningBody): PoolServer['state'] | null {
  if (body.ready) return 'ready';
  return body.state === 'stopping' || body.state === 'unhealthy' ? 'drain' : null;
}

function byInstance(a: { instance: InstanceId }, b: { instance: InstanceId }): number {
  return a.instance < b.instance ? -1 : a.instance > b.instance ? 1 : 0;
}
