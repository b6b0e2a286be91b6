import type { NodeName } from '../model/ids.ts';
import type { Endpoint } from '../model/node-promise.ts';
import { portsOf, type FixedPort } from '../model/app-spec.ts';
import type { DesiredInstance } from '../model/reconciliation.ts';
import type { Artifacts } from '../ports/artifacts.ts';
import { DriverError, type Driver, type DriverUnit } from '../ports/driver.ts';
import type { Host } from '../ports/host.ts';
import type { Random } from '../ports/random.ts';
import { launchOf } from './launch.ts';
import type { Supplies } from './supplies.ts';
import type { World } from './world.ts';

export interface StarterOptions {
  node: NodeName;
  /** The address instances listen on. */
  bindAddress: string;
  portRange: [number, number];
  user: string;
  world: World;
  artifacts: Artifacts;
  supplies: Supplies;
  driver: Driver;
  host: Host;
  random: Random;
  signal: AbortSignal;
}

export interface PortWish {
  /** Those of the copies that live here, as of when it is asked. */
  takenPorts: () => ReadonlySet<number>;
  preferPort: number | null;
}

/** Gets an instance's artifact, a port and an environment together, and starts it. */
export class Starter {
  readonly #options: StarterOptions;
  /** Ports given to starts that are under way. */
  readonly #reserved = new Set<number>();
  #choosing: Promise<unknown> = Promise.resolve();
  readonly #unpacking = new Map<string, ReturnType<Artifacts['unpack']>>();

  constructor(options: StarterOptions) {
    this.#options = options;
  }

  /**
   * Null = `mayStart`, asked once more when all has been fetched and chosen, says that it may not any more.
   * @throws DriverError, also when a fixed port is in use; ArtifactError, or Error when no port is left
   */
  async start(
    desired: DesiredInstance,
    ports: PortWish,
    mayStart: () => boolean = () => true,
  ): Promise<DriverUnit | null> {
    const { driver, random, node, user, world, bindAddress } = this.#options;
    const unpacked = await this.#unpacked(desired);
    const fixed = portsOf(desired.spec, desired.process.type);
    await this.#checkFree(fixed);
    const endpoint = desired.process.routed ? await this.#endpoint(ports, fixed) : null;
    try {
      if (!mayStart()) return null;
      return await driver.start(
        launchOf(desired, {
          unit: `${desired.app}.${desired.process.type}.${desired.index}.${desired.version}.${random.hex(3)}`,
          ...unpacked,
          endpoint,
          bindAddress,
          ports: fixed,
          node,
          user,
          secrets: world.apps.get(desired.app)?.value.secrets ?? {},
        }),
      );
    } finally {
      if (endpoint) this.#reserved.delete(endpoint.port);
    }
  }

  /** Several instances of one release on one node unpack it once. */
  async #unpacked(desired: DesiredInstance): ReturnType<Artifacts['unpack']> {
    const { artifacts, supplies, signal } = this.#options;
    if (!desired.artifact) throw new Error(`release ${desired.release} of ${desired.app} has no artifact`);
    const { digest } = desired.artifact;
    const key = `${desired.app}/${desired.release}/${digest}`;
    let unpacking = this.#unpacking.get(key);
    if (!unpacking) {
      unpacking = (async () => {
        await supplies.bring(digest, signal);
        return artifacts.unpack(digest, desired.app, desired.release);
      })();
      this.#unpacking.set(key, unpacking);
      unpacking.then(
        () => this.#unpacking.delete(key),
        () => this.#unpacking.delete(key),
      );
    }
    return unpacking;
  }

  /** What another program has, or this one may not give, is no fault of the app. @throws DriverError */
  async #checkFree(fixed: readonly FixedPort[]): Promise<void> {
    const { host, bindAddress } = this.#options;
    for (const port of fixed) {
      const taken = await host.whyTaken(bindAddress, port);
      if (taken !== null) throw new DriverError(taken, { retryable: true });
    }
  }

  /** One after the other: two starts under way are not given the same port. */
  async #endpoint(ports: PortWish, fixed: readonly FixedPort[]): Promise<Endpoint> {
    const http = fixed.find(port => port.http === true);
    if (http) return { host: this.#options.bindAddress, port: http.number };
    const chosen = this.#choosing.then(() => this.#choose(ports));
    this.#choosing = chosen.catch(() => undefined);
    return chosen;
  }

  async #choose({ takenPorts, preferPort }: PortWish): Promise<Endpoint> {
    const { host, bindAddress, portRange, world } = this.#options;
    // Not what somebody may want as a fixed port: it would not be free for them.
    const fixed = world.apps.all().flatMap(({ value }) => value.spec.ports.map(({ number }) => number));
    const taken = new Set([...takenPorts(), ...this.#reserved, ...fixed]);
    // The same port as before, when nobody has it: then the proxies need not be told anything.
    const range: [number, number] =
      preferPort !== null && !taken.has(preferPort) ? [preferPort, preferPort] : portRange;
    const port = await host
      .freePort(bindAddress, range, taken)
      .catch(() => host.freePort(bindAddress, portRange, taken));
    this.#reserved.add(port);
    return { host: bindAddress, port };
  }
}
