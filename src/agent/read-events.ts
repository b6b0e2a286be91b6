import type { EventView } from '../model/views.ts';
import type { EventFilter, Listing } from '../ports/admin.ts';
import type { Entry, Store } from '../ports/store.ts';
import { Channel } from './channel.ts';

/** Newest `limit` events that match, oldest first. @throws StoreError */
export async function pastEvents(
  store: Store,
  filter: EventFilter & { limit: number; after: string | null },
): Promise<Listing<EventView>> {
  const { entries, revision } = await store.list(
    'events',
    filter.after === null ? {} : { after: BigInt(filter.after) },
  );
  const items = entries.map(eventView).sort(byRevision).filter(matches(filter));
  return { revision: String(revision), items: items.slice(Math.max(0, items.length - filter.limit)) };
}

/** As they are recorded, from after that revision, until the signal aborts. */
export async function* followEvents(
  store: Store,
  filter: EventFilter & { after: string },
  signal: AbortSignal,
): AsyncIterable<EventView> {
  const mirror = store.mirror('events');
  const channel = new Channel<EventView>();
  const wanted = matches(filter);
  let seen = BigInt(filter.after);
  const send = (entries: Entry<'events'>[]): void => {
    const news = entries.filter(entry => entry.createRevision > seen);
    for (const event of news.map(eventView).sort(byRevision)) if (wanted(event)) channel.send(event);
    seen = news.reduce((highest, entry) => max(highest, entry.createRevision), seen);
  };
  const stop = mirror.onChange(changes =>
    send(changes.flatMap(change => (change.after ? [change.after] : []))),
  );
  const close = (): void => channel.close();
  signal.addEventListener('abort', close, { once: true });
  try {
    yield* channel;
  } finally {
    signal.removeEventListener('abort', close);
    stop();
    mirror.close();
  }
}

/** Known by the revision it was recorded at: writing it again, after a lost reply, makes it no other event. */
function eventView(entry: Entry<'events'>): EventView {
  const { at, kind, subject, node, message, details } = entry.value;
  return { revision: String(entry.createRevision), at, kind, subject, node, message, details };
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

function byRevision(a: EventView, b: EventView): number {
  const difference = BigInt(a.revision) - BigInt(b.revision);
  if (difference !== 0n) return difference < 0n ? -1 : 1;
  return a.at < b.at ? -1 : a.at > b.at ? 1 : 0;
}

function matches(filter: EventFilter): (event: EventView) => boolean {
  return event =>
    (filter.kind === undefined || event.kind === filter.kind) &&
    (filter.subject === undefined || event.subject === filter.subject) &&
    (filter.node === undefined || event.node === filter.node) &&
    (filter.instance === undefined || isAbout(event.subject, filter.instance));
}

/** As itself, as a subject, or as what a promise of some node is about. */
function isAbout(subject: string, instance: string): boolean {
  return subject === instance || subject.endsWith(`/${instance}`) || subject.endsWith(`:${instance}`);
}
