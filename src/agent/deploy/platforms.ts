import type { AppSpec } from '../../model/app-spec.ts';
import type { StepWork } from '../../model/plan.ts';
import { runsOn } from '../../model/platform.ts';
import type { ArtifactRef, ReleaseDraft } from '../../model/records.ts';
import { unfitness } from '../../placement/filter.ts';
import { holdersOf } from '../wanted.ts';
import type { World } from '../world.ts';

export interface PlatformsOptions {
  /** This node's. */
  platform: string;
  world: Pick<World, 'deploys' | 'nodes' | 'promises'>;
}

/**
 * What a release is built for. Its instances run on nodes of that platform alone, so it is that of the release before, while an app
 * can be given to a node of it, and else that of any node that can be given the app.
 */
export class Platforms {
  readonly own: string;
  readonly #world: PlatformsOptions['world'];

  constructor({ platform, world }: PlatformsOptions) {
    this.own = platform;
    this.#world = world;
  }

  /** The platform of an artifact, when no node is left of it that the app can be given to, though there are others; null = one is. */
  lost(spec: AppSpec, artifact: Pick<ArtifactRef, 'platform'> | null | undefined): string | null {
    const platform = artifact?.platform ?? null;
    const places = this.#places(spec);
    if (platform === null || places.length === 0) return null;
    return places.some(place => runsOn(platform, place)) ? null : platform;
  }

  /** Whether this node is to leave building and running it to those of another platform, of which there are some. */
  areOthers({ spec, artifact, platform }: ReleaseDraft): boolean {
    const places = this.#places(spec);
    const built = artifact?.platform ?? platform ?? null;
    const same = places.filter(place => runsOn(built, place));
    const wanted = same.length > 0 ? same : places;
    return wanted.length > 0 && !wanted.includes(this.own);
  }

  /** Whether another node has to do a step, by what this one knows of the deployment. */
  isForOthers({ resource: app, arguments: given }: StepWork): boolean {
    const draft = this.#world.deploys.get(app)?.value.draft;
    if (!draft) return false;
    switch (given?.['step']) {
      case 'build':
      case 'publish':
      case 'roll':
        return this.#isToBeBuilt(draft) && this.areOthers(draft);
      case 'before-run':
        return (draft.spec.beforeRun.length > 0 || this.#isToBeBuilt(draft)) && this.areOthers(draft);
      default:
        return false;
    }
  }

  #isToBeBuilt({ spec, artifact }: ReleaseDraft): boolean {
    if (artifact === undefined || this.lost(spec, artifact) !== null) return true;
    return holdersOf(this.#world, artifact.digest, null).length === 0;
  }

  /** Of each node that the app can be given to. */
  #places(spec: AppSpec): string[] {
    const nodes = [...this.#world.nodes().values()].map(({ value }) => value);
    return nodes.filter(node => unfitness(spec, node) === null).map(({ platform }) => platform);
  }
}
