import type { AppName, NodeName } from '../model/ids.ts';
import { runsOn } from '../model/platform.ts';
import { inCharge } from '../model/rollout.ts';
import type { Artifacts } from '../ports/artifacts.ts';
import type { AppPlace, AppPlaces } from '../ports/step-agents.ts';
import { hookEnvironment } from './launch.ts';
import type { Supplies } from './supplies.ts';
import type { World } from './world.ts';

export interface AppPlacesOptions {
  node: NodeName;
  /** This node's. */
  platform: string;
  /** The agent's own. */
  user: string;
  world: World;
  artifacts: Artifacts;
  supplies: Supplies;
  /** Whom an app runs as, the owner of its own directories; absent = as the agent's own user. */
  userOf?: (app: AppName, own: string[], release: number) => Promise<string>;
}

/** Brings apps' current releases here for commands of theirs, and knows which must stay meanwhile. */
export class ReleasePlaces implements AppPlaces {
  readonly #options: AppPlacesOptions;
  readonly #entered = new Set<{ app: AppName; release: number }>();

  constructor(options: AppPlacesOptions) {
    this.#options = options;
  }

  async enter(app: AppName, signal: AbortSignal): Promise<AppPlace> {
    const { node, platform, user, world, artifacts, supplies, userOf } = this.#options;
    const record = world.apps.get(app)?.value;
    if (!record || record.removing) throw new Error(`there is no app "${app}"`);
    const { release, spec, artifact } = inCharge(record);
    const { secrets } = record;
    if (!artifact) throw new Error(`release ${release} of ${app} has no artifact`);
    if (!runsOn(artifact.platform, platform)) {
      const instead = this.isForOthers(app) ? '' : ', and no other node that takes work can run it';
      const built = `release ${release} of ${app} was built for ${artifact.platform ?? ''}`;
      throw new Error(`${built}; ${node} is ${platform}${instead}`);
    }
    const place = { app, release };
    this.#entered.add(place);
    try {
      await supplies.bring(artifact.digest, signal);
      const unpacked = await artifacts.unpack(artifact.digest, app, release);
      const { directory, dataDirectory } = unpacked;
      const own = userOf ? await userOf(app, [directory, dataDirectory], release) : null;
      return {
        directory,
        env: hookEnvironment(spec, { ...unpacked, node, user: own ?? user, secrets }),
        user: own,
        limits: spec.limits,
        leave: () => void this.#entered.delete(place),
      };
    } catch (error) {
      this.#entered.delete(place);
      throw error;
    }
  }

  isForOthers(app: AppName): boolean {
    const { platform, world } = this.#options;
    const record = world.apps.get(app)?.value;
    const built = record ? (inCharge(record).artifact?.platform ?? null) : null;
    if (runsOn(built, platform)) return false;
    const nodes = [...world.nodes().values()].map(({ value }) => value);
    return nodes.some(node => node.roles.includes('apps') && !node.draining && runsOn(built, node.platform));
  }

  /** What must not be taken away. */
  inUse(): { app: AppName; release: number }[] {
    return [...this.#entered];
  }
}
