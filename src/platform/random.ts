import { randomBytes, randomUUID } from 'node:crypto';

import type { Random } from '../ports/random.ts';

/** The system's secure source. */
export function systemRandom(): Random {
  return {
    // 48 bits are as many as one read gives, and plenty for jitter.
    float: () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48,
    hex: bytes => randomBytes(bytes).toString('hex'),
    uuid: () => randomUUID(),
  };
}
