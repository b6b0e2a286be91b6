import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { StoreError } from '../ports/store.ts';
import type { Wire } from './wire.ts';

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5_000;

/**
 * Leases given up by a living process. Left alone, one would hold its keys until its TTL has passed, and after a restart of etcd
 * for a whole TTL more; so each is revoked as soon as etcd can be reached.
 */
export class LostLeases {
  private readonly wire: Wire;
  private readonly clock: Clock;
  private readonly log: Log;
  private readonly leases = new Set<string>();
  private readonly closing = new AbortController();

  constructor(wire: Wire, clock: Clock, log: Log) {
    this.wire = wire;
    this.clock = clock;
    this.log = log;
  }

  add(lease: string): void {
    this.leases.add(lease);
    void this.revokeEventually(lease);
  }

  /** Before a new session begins. @throws StoreError when etcd cannot be reached */
  async revokeAll(): Promise<void> {
    for (const lease of [...this.leases]) {
      await this.wire.revoke(lease);
      this.leases.delete(lease);
    }
  }

  close(): void {
    this.closing.abort();
  }

  private async revokeEventually(lease: string): Promise<void> {
    let pauseMs = FIRST_PAUSE_MS;
    while (this.leases.has(lease) && !this.closing.signal.aborted) {
      try {
        await this.wire.revoke(lease);
        this.leases.delete(lease);
      } catch (error) {
        if (!(error instanceof StoreError)) throw error;
        if (!error.retryable) {
          this.leases.delete(lease);
          this.log.warn('a lost lease cannot be revoked; its keys stay until its TTL has passed', {
            lease,
            error,
          });
        }
        await this.clock.sleep(pauseMs, this.closing.signal);
        pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2);
      }
    }
  }
}
