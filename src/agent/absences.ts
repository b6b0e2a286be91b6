import type { InstantMs } from '../model/ids.ts';
import { takenAt } from '../model/records.ts';
import type { Clock } from '../ports/clock.ts';
import type { World } from './world.ts';

/**
 * Since when this very process has seen the session keys of owners absent. A key that is gone never comes back, so what
 * counts is that it was there once and is not there now.
 */
export class Absences {
  readonly #world: World;
  readonly #clock: Clock;
  readonly #sinceMs = new Map<string, InstantMs>();

  constructor(world: World, clock: Clock) {
    this.#world = world;
    this.#clock = clock;
  }

  /** To be called whenever owners or sessions have changed. */
  look(): void {
    const { owners, sessions } = this.#world;
    if (!owners.synced || !sessions.synced) return;
    const absent = new Set<string>();
    for (const owner of owners.all()) {
      const { node, incarnation, released } = owner.value;
      const session = `${node}/${incarnation}`;
      // The session was there when the subject was taken: a copy that is older than that cannot tell.
      const tells = sessions.revision >= takenAt(owner);
      if (released === null && tells && sessions.get(session) === undefined) absent.add(session);
    }
    for (const session of this.#sinceMs.keys()) if (!absent.has(session)) this.#sinceMs.delete(session);
    for (const session of absent) {
      if (!this.#sinceMs.has(session)) this.#sinceMs.set(session, this.#clock.now());
    }
  }

  /** null = it is there, or was not looked for. */
  sinceMs(node: string, incarnation: string): InstantMs | null {
    return this.#sinceMs.get(`${node}/${incarnation}`) ?? null;
  }
}
