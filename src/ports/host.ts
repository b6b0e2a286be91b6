import type { FixedPort } from '../model/app-spec.ts';
import type { Capacity } from '../model/records.ts';

/** Facts about the machine and this process. */
export interface Host {
  readonly name: string;
  readonly bootId: string;
  readonly pid: number;
  /** `linux-x64-node20`: what artifacts built here run on. */
  readonly platform: string;
  capacity(): Capacity;
  /** A TCP port in the range on which nothing listens at `host` now, and that is not in `taken`. @throws Error when none is left */
  freePort(host: string, range: [number, number], taken: ReadonlySet<number>): Promise<number>;
  /** Why no app could listen on a port at `host` now, in words; null = it could. Never throws. */
  whyTaken(host: string, port: Pick<FixedPort, 'number' | 'protocol'>): Promise<string | null>;
}
