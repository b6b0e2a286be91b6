import type { AppName } from '../../model/ids.ts';
import type { DeployProgress } from '../../model/views.ts';

type Fate =
  | { kind: 'not begun' }
  | { kind: 'under way'; plan: string }
  | { kind: 'applied'; release: number }
  | { kind: 'failed' };

/** What has become of each of the apps that were handed over, as far as it was told. */
export class Fates {
  readonly #fates: Map<AppName, Fate>;

  constructor(apps: AppName[]) {
    this.#fates = new Map(apps.map(app => [app, { kind: 'not begun' }]));
  }

  hear(progress: DeployProgress): void {
    if (progress.kind === 'begun') {
      this.#fates.set(progress.app, { kind: 'under way', plan: progress.plan });
    }
    if (progress.kind === 'wanted') {
      this.#fates.set(progress.app, { kind: 'applied', release: progress.release });
    }
    if (progress.kind === 'failed') this.#fates.set(progress.app, { kind: 'failed' });
  }

  /** The one that is being deployed: they are one after the other. */
  underWay(): { app: AppName; plan: string } | null {
    for (const [app, fate] of this.#fates) if (fate.kind === 'under way') return { app, plan: fate.plan };
    return null;
  }

  /** `blog is applied (release 3), shop and news are not begun`; of one that is under way, what `goesOn` says. */
  text(goesOn: (plan: string) => string = () => ''): string {
    const told = [...this.#fates].flatMap(([app, fate]) => {
      if (fate.kind === 'applied') return [`${app} is applied (release ${fate.release})`];
      return fate.kind === 'under way' ? [`${app} ${goesOn(fate.plan)}`] : [];
    });
    const left = [...this.#fates].flatMap(([app, { kind }]) => (kind === 'not begun' ? [app] : []));
    if (left.length > 0) told.push(`${inWords(left)} ${left.length === 1 ? 'is' : 'are'} not begun`);
    return told.join(', ');
  }
}

/** `a`, `a and b`, `a, b and c` */
function inWords(names: string[]): string {
  const last = names.at(-1) ?? '';
  return names.length < 2 ? last : `${names.slice(0, -1).join(', ')} and ${last}`;
}
