import type { Random } from '../../src/ports/random.ts';

/** The same seed gives the same values in the same order (mulberry32). */
export class FakeRandom implements Random {
  private state: number;

  constructor(seed = 1) {
    this.state = seed >>> 0;
  }

  float(): number {
    return this.next() / 2 ** 32;
  }

  hex(bytes: number): string {
    return Array.from({ length: bytes }, () => (this.next() >>> 24).toString(16).padStart(2, '0')).join('');
  }

  uuid(): string {
    const digits = this.hex(16);
    const variant = '89ab'.charAt(this.next() >>> 30);
    return [
      digits.slice(0, 8),
      digits.slice(8, 12),
      `4${digits.slice(13, 16)}`,
      variant + digits.slice(17, 20),
      digits.slice(20),
    ].join('-');
  }

  private next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let mixed = this.state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }
}
