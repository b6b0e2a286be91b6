import type { NodeName } from '../model/ids.ts';
import type { Endpoint } from '../model/node-promise.ts';
import type { DesiredInstance } from '../model/reconciliation.ts';
import type { Artifacts } from '../ports/artifacts.ts';
import type { Driver, DriverUnit } from '../ports/driver.ts';
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
   * @throws DriverError, ArtifactError, or Error when no port is left
   */
  async start(
    desired: DesiredInstance,
    ports: PortWish,
    mayStart: () => boolean = () => true,
  ): Promise<DriverUnit | null> {
    const { driver, random, node, user, world } = this.#options;
    const unpacked = await this.#unpacked(desired);
    const endpoint = desired.process.routed ? await this.#endpoint(ports) : null;
    try {
      if (!mayStart()) return null;
      return await driver.start(
        launchOf(desired, {
          unit: `${desired.app}.${desired.process.type}.${desired.index}.${desired.version}.${random.hex(3)}`,
          ...unpacked,
          endpoint,
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

  /** One after the other: two starts under way are not given the same port. */
  #endpoint(ports: PortWish): Promise<Endpoint> {
    const chosen = this.#choosing.then(() => this.#choose(ports));
    this.#choosing = chosen.catch(() => undefined);
    return chosen;
  }

  async #choose({ takenPorts, preferPort }: PortWish): Promise<Endpoint> {
    const { host, bindAddress, portRange } = this.#options;
    const taken = new Set([...takenPorts(), ...this.#reserved]);
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
