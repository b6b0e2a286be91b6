import { marginMs, renewalMs } from '../model/deadline.ts';

/** An election of etcd, or one renewal lost, must stop nothing. */
const ETCD_ELECTION_MS = 3000;

/** What an exclusive process needs of a lease so that one missed renewal stops nothing (ownership rule 7). */
export function neededTtlMs(ttlSeconds: number, stopTimeoutSeconds: number): number {
  return stopTimeoutSeconds * 1000 + marginMs(ttlSeconds) + renewalMs(ttlSeconds) + ETCD_ELECTION_MS;
}

/** Why a node with this lease may not take what takes so long to stop; null = it may. Names the numbers, and a TTL that works. */
export function notAdmitted(ttlSeconds: number, stopTimeoutSeconds: number): string | null {
  const neededMs = neededTtlMs(ttlSeconds, stopTimeoutSeconds);
  if (neededMs <= ttlSeconds * 1000) return null;
  let enough = Math.ceil(ttlSeconds);
  while (neededTtlMs(enough, stopTimeoutSeconds) > enough * 1000) enough++;
  const parts = [
    `stop-timeout ${stopTimeoutSeconds} s`,
    `margin ${marginMs(ttlSeconds) / 1000} s`,
    `renewal interval ${renewalMs(ttlSeconds) / 1000} s`,
    `${ETCD_ELECTION_MS / 1000} s for an etcd election`,
  ];
  return (
    `an exclusive process must be dead before the lease of its node ends: ${parts.join(' + ')} = ${neededMs / 1000} s ` +
    `is more than the lease TTL of ${ttlSeconds} s; a lease-ttl of ${enough} s works, or a shorter stop-timeout`
  );
}
