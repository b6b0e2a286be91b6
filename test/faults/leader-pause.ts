import { setTimeout as sleep } from 'node:timers/promises';
import type { SessionRecord } from '../../src/model/records.ts';
import type { Session, Store } from '../../src/ports/store.ts';
import { leaderOf, startEtcd } from '../support/etcd.ts';
import { until } from '../support/until.ts';
import { monotonicMs } from './monotonic.ts';
import { storeAt } from './world.ts';

const TTL_SECONDS = 4;
const TTL_MS = TTL_SECONDS * 1000;
const SESSIONS = 10;
const SETTLED_MS = 1200;

export interface LeaderPauses {
  pauses: number;
  /** Pauses after which healthy sessions were gone. */
  revoking: number;
  revoked: number;
  /** For how long such a session still thought it was good after its key was gone: what the hold-down is for. */
  longestStillValidMs: number;
  trouble: string[];
}

/**
 * Sessions that nothing is wrong with, and an etcd whose leader is frozen for longer than their TTL, again and again: when it
 * wakes it may take their leases for ended and revoke them, although they were renewed at the new leader all the time.
 */
export async function pauseLeaders(
  most: number,
  enough: (seen: LeaderPauses) => boolean,
): Promise<LeaderPauses> {
  const etcd = await startEtcd({ members: 3 });
  const stores = Array.from({ length: SESSIONS }, () => storeAt(etcd.urls, 'pauses'));
  const watcher = storeAt(etcd.urls, 'pauses');
  const seen = noPauses();
  try {
    const mirror = watcher.mirror('sessions');
    await mirror.ready();
    const sessions = await Promise.all(stores.map((store, index) => open(store, index)));
    for (; seen.pauses < most && !enough(seen); seen.pauses++) {
      const leader = await leaderOf(etcd);
      const watched = sessions.map(session => watch(session));
      const goneMs = new Map<string, number>();
      const unlisten = mirror.onChange(changes => {
        for (const { name, after } of changes) if (!after) goneMs.set(name, monotonicMs());
      });
      leader.pause();
      await sleep(1.15 * TTL_MS);
      leader.resume();
      await sleep(SETTLED_MS);
      const revoked = sessions.flatMap((session, index) => {
        const atMs = goneMs.get(`session-${index}/${session.incarnation}`);
        const lost = watched[index]!;
        return atMs !== undefined && !lost.overdue ? [{ session, lost, atMs }] : [];
      });
      if (revoked.length > 0) seen.revoking++;
      seen.revoked += revoked.length;
      for (const { session, lost, atMs } of revoked) {
        await until('it knows that it is lost', () => !session.valid(), TTL_MS).catch(() =>
          seen.trouble.push(`a session was valid for more than ${TTL_SECONDS} s after its key was gone`),
        );
        seen.longestStillValidMs = Math.max(seen.longestStillValidMs, lost.atMs - atMs);
      }
      unlisten();
      for (const [index, session] of sessions.entries()) {
        if (!session.valid()) sessions[index] = await open(stores[index]!, index);
      }
    }
    for (const session of sessions) await session.detach();
    return seen;
  } finally {
    await Promise.all([watcher, ...stores].map(store => store.close()));
    await etcd.stop();
  }
}

export function noPauses(): LeaderPauses {
  return { pauses: 0, revoking: 0, revoked: 0, longestStillValidMs: 0, trouble: [] };
}

/** When it was lost, and whether for want of renewals, which would be no wonder. */
function watch(session: Session): { overdue: boolean; atMs: number } {
  const seen = { overdue: false, atMs: -Infinity };
  session.onLost(reason => {
    seen.overdue = reason.includes('could not be renewed');
    seen.atMs = monotonicMs();
  });
  return seen;
}

let opened = 0;

function open(store: Store, index: number): Promise<Session> {
  const record: SessionRecord = {
    v: 1,
    node: `session-${index}`,
    incarnation: `i${++opened}`,
    ttlSeconds: TTL_SECONDS,
    pid: process.pid,
    version: '0',
    startedAt: new Date().toISOString(),
    labels: {},
    roles: [],
    capacity: { memoryBytes: 0, cpu: 0 },
    platform: '',
    peer: null,
    admin: '',
    draining: false,
  };
  return until('a session is open', () => store.openSession({ record, resume: null }).catch(() => null));
}
