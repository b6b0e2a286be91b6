import type { InstantMs, NodeName } from '../model/ids.ts';
import type { SessionRecord } from '../model/records.ts';
import { rendezvousOrder } from '../model/rendezvous.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Change, Entry, Store } from '../ports/store.ts';
import { promiseSubject } from './promise-loop.ts';
import type { Ledger } from './ledger.ts';
import type { World } from './world.ts';

/** Sessions and promises come on streams of their own: one may be this much later than the other. */
const APART_MS = 10_000;
const EVENTS_LOOKED_AT = 500;

/** The node whose turn it is may be about to expire itself: then the next one writes, unless it has been written. */
const STAGGER_MS = 3000;

/**
 * Writes down which promises ran out with their lease: neither withdrawn by the promiser nor judged broken. One live
 * node does so for each ended session, in an order that is the same in everybody's eyes, so the ledger has it once.
 * Returns how to stop.
 */
export function recordExpiries(options: {
  node: NodeName;
  world: World;
  store: Store;
  ledger: Ledger;
  clock: Clock;
  log: Log;
}): () => void {
  const { world, node, clock, log } = options;
  let vanished: { entry: Entry<'promises'>; atMs: InstantMs }[] = [];
  const waiting = new Set<() => void>();

  const stopPromises = world.promises.onChange((changes: Change<'promises'>[]) => {
    const nowMs = clock.now();
    vanished = vanished.filter(({ atMs }) => nowMs - atMs < APART_MS);
    for (const { before, after } of changes)
      if (before && !after) vanished.push({ entry: before, atMs: nowMs });
  });
  const stopSessions = world.sessions.onChange((changes: Change<'sessions'>[]) => {
    for (const { before, after } of changes) {
      if (!before || after || before.value.node === node) continue;
      const turn = rendezvousOrder(`expiry/${before.name}`, [...world.nodes().keys()]).indexOf(node);
      if (turn === -1) continue;
      const gone = [...vanished.map(({ entry }) => entry), ...world.promises.all()].filter(
        entry => entry.lease === before.lease,
      );
      const cancel = clock.after(turn * STAGGER_MS, () => {
        waiting.delete(cancel);
        record(options, before.value, gone).catch((error: unknown) => {
          log.warn('the end of a session could not be written down', { session: before.name, error });
        });
      });
      waiting.add(cancel);
    }
  });
  return () => {
    stopPromises();
    stopSessions();
    for (const cancel of waiting) cancel();
  };
}

async function record(
  { store, ledger }: { store: Store; ledger: Ledger },
  session: SessionRecord,
  gone: Entry<'promises'>[],
): Promise<void> {
  const { entries } = await store.list('events', { newestFirst: true, limit: EVENTS_LOOKED_AT });
  const subject = `node/${session.node}`;
  const told = (kind: string): boolean =>
    entries.some(({ value }) => value.kind === kind && value.details['incarnation'] === session.incarnation);
  if (told('session-ended') || told('promise-expired')) return;
  const left = told('node-left');
  if (!left) {
    ledger.note({
      kind: 'session-ended',
      subject,
      message: `the session ${session.incarnation} of ${session.node} ran out`,
      details: { incarnation: session.incarnation },
    });
  }
  // A withdrawal is written in the very transaction that deletes the promise, after the promise was last written.
  const withdrawn = new Map(
    entries
      .filter(({ value }) => value.kind === 'promise-withdrawn')
      .map(({ value, revision }) => [value.subject, revision]),
  );
  for (const entry of new Map(gone.map(promise => [promise.name, promise])).values()) {
    const { promise } = entry.value;
    if ((withdrawn.get(promiseSubject(promise)) ?? 0n) > entry.revision) continue;
    ledger.note({
      kind: 'promise-expired',
      subject: promiseSubject(promise),
      message: `${promise.name} of ${promise.promiser} expired with its lease`,
      details: { incarnation: session.incarnation },
    });
  }
}
