import { FakeRandom } from '../support/fake-random.ts';

/** What a seed decides. Every decision of a run comes from one source, so the same seed takes all of them again. */
export class Chance {
  private readonly random: FakeRandom;

  constructor(seed: number) {
    this.random = new FakeRandom(seed);
    // Neighbouring seeds begin alike.
    for (let skipped = 0; skipped < 8; skipped++) this.random.float();
  }

  float(): number {
    return this.random.float();
  }

  happens(probability: number): boolean {
    return this.random.float() < probability;
  }

  /** Uniform, both ends included. */
  between(least: number, most: number): number {
    return least + this.random.float() * (most - least);
  }

  whole(least: number, most: number): number {
    return Math.floor(this.between(least, most + 1));
  }

  /** @throws RangeError when there is nothing to choose from */
  pick<T>(from: readonly T[]): T {
    const chosen = from[Math.floor(this.random.float() * from.length)];
    if (chosen === undefined) throw new RangeError('there is nothing to choose from');
    return chosen;
  }

  /** Mostly short, seldom long: how things take their time. */
  delayMs(usualMs: number, longMs: number, longProbability: number): number {
    return this.happens(longProbability) ? this.between(usualMs, longMs) : this.random.float() * usualMs;
  }
}
