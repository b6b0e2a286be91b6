import type { InstantMs } from '../model/ids.ts';
import type { Clock } from '../ports/clock.ts';
import type { Member } from './member.ts';

/** Who was heard no longer ago is taken to be there. */
const LATELY_MS = 1_000;
/** A member that is there answers for itself at once, whatever has become of the leader. */
const PATIENCE_MS = 200;
/** When nobody has answered after this, it is not the member that is slow. */
const LONGEST_MS = 1_000;
/** Who gave no sign of life no longer ago is not gone to while there is another. */
const MISSED_MS = 10_000;

/**
 * Which members of etcd are there. A host that is gone says nothing: what is sent to it waits for its timeout, and what has become
 * of it is unknown.
 */
export class SignsOfLife {
  private readonly clock: Clock;
  private readonly heardAtMs = new Map<Member, InstantMs>();
  private readonly missedAtMs = new Map<Member, InstantMs>();

  constructor(clock: Clock) {
    this.clock = clock;
  }

  heard(member: Member): void {
    this.heardAtMs.set(member, this.clock.now());
    this.missedAtMs.delete(member);
  }

  heardLately(member: Member): boolean {
    return this.clock.now() - (this.heardAtMs.get(member) ?? -Infinity) < LATELY_MS;
  }

  missedLately(member: Member): boolean {
    return this.clock.now() - (this.missedAtMs.get(member) ?? -Infinity) < MISSED_MS;
  }

  /** Asks it, and the others too once it is slow to answer. Gives who answered first, if not it; null = nobody is better. */
  async better(member: Member, others: Member[]): Promise<Member | null> {
    const over = new AbortController();
    try {
      const own = this.answered(member);
      const patience = this.clock.sleep(PATIENCE_MS, over.signal).then(() => null);
      if ((await Promise.race([own, patience]).catch(() => null)) !== null) return null;
      const nobody = this.clock.sleep(LONGEST_MS - PATIENCE_MS, over.signal).then(() => null);
      const first = Promise.any([own, ...others.map(other => this.answered(other))]).catch(() => null);
      const found = await Promise.race([first, nobody]);
      if (found === null || found === member) return null;
      this.missedAtMs.set(member, this.clock.now());
      return found;
    } finally {
      over.abort();
    }
  }

  /** @throws Error when it gives none */
  private async answered(member: Member): Promise<Member> {
    if (!(await member.isThere(LONGEST_MS))) throw new Error(`no sign of life from etcd at ${member.url}`);
    this.heard(member);
    return member;
  }
}
