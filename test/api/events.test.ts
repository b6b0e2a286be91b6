import test from 'ava';
import { ApiError, type Placed } from '../../src/api/client.ts';
import type { EventView } from '../../src/model/views.ts';
import { AdminError } from '../../src/ports/admin.ts';
import { until } from '../support/until.ts';
import { eventStream, firstText, served, stalledClient, take } from './helpers.ts';

test('events are listed with the revision the list is of', async t => {
  const { client, admin } = await served(t);
  const last = admin.record({ kind: 'instance-exited', subject: 'blog/web/0' });
  const { revision, items } = await client.events({ limit: 2 });
  t.is(revision, last.revision);
  t.deepEqual(
    items.map(event => event.kind),
    ['promise-made', 'instance-exited'],
  );
  t.deepEqual((await client.events({ after: items[0]?.revision ?? '' })).items, [last]);
  t.deepEqual((await client.events({ kind: 'nothing-like-it' })).items, []);
});

test('a stream begins with the newest events that were asked for, then tells what happens', async t => {
  const { client, admin } = await served(t);
  const stream = eventsOf(client.followEvents({ limit: 1 }));
  t.is((await stream.next()).value?.kind, 'promise-made');
  await until('the stream follows', () => admin.open === 1);
  const event = admin.record({ kind: 'node-lost', subject: 'node/n2', details: { why: 'line\nbreak' } });
  t.deepEqual((await stream.next()).value, event);
  await stream.return(undefined);
});

test('without a limit only what happens from now on is told, and the filter holds', async t => {
  const { client, admin } = await served(t);
  const stream = eventsOf(client.followEvents({ kind: 'node-lost' }));
  const first = stream.next();
  await until('the stream follows', () => admin.open === 1);
  admin.record({ kind: 'node-joined', subject: 'node/n4' });
  const lost = admin.record({ kind: 'node-lost', subject: 'node/n4' });
  t.deepEqual((await first).value, lost);
  await stream.return(undefined);
});

test('a stream resumes after the last event a client has seen', async t => {
  const { admin, api } = await served(t);
  const kinds = ['one', 'two', 'three'];
  const [one] = kinds.map(kind => admin.record({ kind, subject: 'x' }));
  const headers = { ...eventStream, 'last-event-id': one?.revision ?? '' };
  t.deepEqual(await firstKinds(api.url, headers, 2), ['two', 'three']);
});

test('a stream cut between events of one transaction loses none of them and repeats none', async t => {
  const { admin, api } = await served(t);
  const first = admin.record({ kind: 'one', subject: 'x' });
  for (const kind of ['two', 'three']) admin.record({ kind, subject: 'x' }, { sameRevision: true });
  admin.record({ kind: 'four', subject: 'x' });
  const resumedAt = (id: string) => firstKinds(api.url, { ...eventStream, 'last-event-id': id }, 1);
  t.deepEqual(await resumedAt(first.revision), ['two']);
  t.deepEqual(await resumedAt(`${first.revision}-2`), ['three']);
  t.deepEqual(await resumedAt(`${first.revision}-3`), ['four']);
});

test('a stream cut before anything happened loses nothing of what happens meanwhile', async t => {
  const { admin, client } = await served(t);
  admin.record({ kind: 'zero', subject: 'x' }, { sameRevision: true });
  const [place] = await take(1, client.followEvents());
  t.is(place?.value, null);
  const kinds = ['one', 'two'];
  kinds.forEach(kind => admin.record({ kind, subject: 'x' }));
  const rest = await take(2, eventsOf(client.followEvents({ lastId: place?.id ?? '' })));
  t.deepEqual(
    rest.map(({ kind }) => kind),
    kinds,
  );
});

test('following with the last id goes on between the events of one transaction', async t => {
  const { admin, client } = await served(t);
  const { revision } = admin.record({ kind: 'one', subject: 'x' });
  for (const kind of ['two', 'three']) admin.record({ kind, subject: 'x' }, { sameRevision: true });
  const seen: string[] = [];
  let lastId = String(BigInt(revision) - 1n);
  while (seen.length < 3) {
    const [next] = await take(1, client.followEvents({ lastId }));
    lastId = next?.id ?? '';
    if (next?.value) seen.push(next.value.kind);
  }
  t.deepEqual(seen, ['one', 'two', 'three']);
  t.is(lastId, `${revision}-3`);
});

test('ids are revisions', async t => {
  const { admin, api } = await served(t);
  const { revision } = admin.record({ kind: 'one', subject: 'x' });
  admin.record({ kind: 'two', subject: 'x' }, { sameRevision: true });
  const text = await firstText(api.url, '/v1/events?limit=2', /two/);
  t.true(text.includes(`id: ${revision}\ndata: `));
  t.true(text.includes(`id: ${revision}-2\ndata: `));
});

test('a silent stream has a heartbeat', async t => {
  const { api } = await served(t, { limits: { heartbeatMs: 20 } });
  t.regex(await firstText(api.url, '/v1/events', /(: still here\n\n){3}/), /^retry: 1000\n\nid: \d+-all\n\n/);
});

test('a client that leaves frees its stream', async t => {
  const { api, admin, client } = await served(t);
  const leaving = new AbortController();
  await fetch(`${api.url}/v1/events`, { headers: eventStream, signal: leaving.signal });
  await until('the stream is open', () => admin.open === 1);
  leaving.abort();
  await until('the stream is freed', () => admin.open === 0);
  t.is(admin.open, 0);

  const stopped = new AbortController();
  const following = take(1, eventsOf(client.followEvents({}, stopped.signal)));
  await until('the stream is open', () => admin.open === 1);
  stopped.abort(new Error('enough'));
  await t.throwsAsync(following, { message: 'enough' });
  await until('the stream is freed', () => admin.open === 0);
});

test('a HEAD request opens no stream', async t => {
  const { ask, admin } = await served(t);
  const response = await ask('/v1/events', { method: 'HEAD', headers: eventStream });
  t.is(response.status, 200);
  t.regex(response.headers.get('content-type') ?? '', /^text\/event-stream/);
  t.is(admin.open, 0);
});

test('a client that stops reading is dropped under a flood, and the flood is not kept for it', async t => {
  const { api, admin, log } = await served(t, { limits: { waitingBytes: 65_536 } });
  const stalled = stalledClient(`${api.url}/v1/events`);
  t.teardown(() => stalled.destroy());
  await until('the stream is open', () => admin.open === 1);
  const details = { padding: 'x'.repeat(20_000) };
  let sent = 0;
  await until('the client is dropped', () => {
    for (let count = 0; count < 50 && sent < 1000; count++, sent++)
      admin.record({ kind: 'flood', subject: 'x', details });
    return admin.open === 0;
  });
  t.regex(JSON.stringify(log.matching('does not read')), /too much is waiting/);
});

test('a client that takes nothing for too long is dropped from other streams too', async t => {
  const { api, admin, log } = await served(t, { limits: { stallMs: 100 } });
  const stalled = stalledClient(`${api.url}/v1/logs/blog?follow=true`);
  t.teardown(() => stalled.destroy());
  await until('the stream is open', () => admin.open === 1);
  const line = { instance: 'blog/web/0', node: 'n1', stream: 'stdout', text: 'x'.repeat(20_000) } as const;
  await until('the client is dropped', () => {
    for (let count = 0; count < 20; count++) admin.say(line);
    return admin.open === 0;
  });
  t.regex(JSON.stringify(log.matching('does not read')), /taken nothing/);
});

test('a flood reaches a client that reads, all of it and in order', async t => {
  const { client, admin } = await served(t, { limits: { waitingBytes: 1_000_000 } });
  const reading = take(1000, eventsOf(client.followEvents({ kind: 'flood' })));
  await until('the stream is open', () => admin.open === 1);
  const sent = Array.from({ length: 1000 }, (_, index) =>
    admin.record({ kind: 'flood', subject: String(index), details: { padding: 'x'.repeat(500) } }),
  );
  t.deepEqual(await reading, sent);
});

test('a stream that can not be had is refused with a status', async t => {
  const { client, admin } = await served(t);
  admin.fail('followEvents', new AdminError('unavailable', 'the store is away'));
  const error = await t.throwsAsync(take(1, eventsOf(client.followEvents())), { instanceOf: ApiError });
  t.is(error.status, 503);
});

/** Without the items that only move the place. */
async function* eventsOf(placed: AsyncIterable<Placed<EventView>>): AsyncGenerator<EventView, undefined> {
  for await (const { value } of placed) if (value !== null) yield value;
}

/** The kinds of the first events of a stream, over a client that knows nothing of ours. */
async function firstKinds(url: string, headers: Record<string, string>, count: number): Promise<string[]> {
  const text = await firstText(url, '/v1/events', new RegExp(`(data: .*\n\n[^]*){${count}}`), headers);
  return [...text.matchAll(/^data: (.*)$/gm)]
    .slice(0, count)
    .map(([, data]) => (JSON.parse(data ?? '') as { kind: string }).kind);
}
