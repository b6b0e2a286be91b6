import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { writeAuthority } from '../../src/authority/authority-files.ts';
import { factsOf, isSignedBy, makeAuthority, makeRequest } from '../../src/authority/certificates.ts';
import { enrolment, type EnrolmentOptions } from '../../src/authority/enrolment.ts';
import { hashOfToken, joinTokenText, parseJoinToken } from '../../src/authority/join-token.ts';
import type { SessionRecord } from '../../src/model/records.ts';
import type { EnrolmentRequest } from '../../src/ports/enrolment.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeLog } from '../support/fake-log.ts';
import { FakeEtcd } from '../support/fake-store.ts';

const etcd = { endpoints: ['https://10.0.0.1:2379'], caFile: null, asksForPassword: false };

/** A node that holds the authority, over an etcd in memory where node-1 has a session. */
async function world(t: ExecutionContext, options: Partial<EnrolmentOptions> = {}) {
  const directory = await mkdtemp(join(tmpdir(), 'hop3-enrol-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const authorityDirectory = join(directory, 'authority');
  const authority = await makeAuthority('test', new Date());
  await writeAuthority(authorityDirectory, authority);
  const clock = new FakeClock();
  const store = new FakeEtcd(clock);
  store.put('sessions', 'node-1/abc', {
    ...({ v: 1, node: 'node-1', incarnation: 'abc' } as SessionRecord),
    peer: { host: '10.0.0.1', port: 7400 },
  });
  const log = new FakeLog();
  const parts: EnrolmentOptions = {
    node: 'node-1',
    cluster: 'test',
    authorityDirectory,
    etcd,
    store: store.client('node-1'),
    clock,
    log,
    ...options,
  };
  const { request } = await makeRequest({ node: 'node-2', cluster: 'test' });
  const ask = (token: string, more: Partial<EnrolmentRequest> = {}): EnrolmentRequest => ({
    token,
    node: 'node-2',
    addresses: ['10.0.0.2'],
    request,
    ...more,
  });
  return { authority, clock, store, log, ask, enrolment: enrolment(parts), parts };
}

test('a node with a token gets a certificate for its name and addresses, and what it must know of etcd', async t => {
  const { authority, store, enrolment: there, ask, log } = await world(t);
  const { token, fingerprint } = await there.issueToken({ ttlSeconds: 900, node: null });
  const enrolled = await there.enrol(ask(token));
  t.true(isSignedBy(authority.certificate, enrolled.certificate));
  t.is(factsOf(enrolled.certificate).commonName, 'node-2.test');
  t.deepEqual(factsOf(enrolled.certificate).names, ['node-2', '10.0.0.2']);
  t.is(enrolled.authority, authority.certificate);
  t.is((await there.authority()).fingerprint, fingerprint);
  t.deepEqual(enrolled.etcd, {
    endpoints: ['https://10.0.0.1:2379'],
    authority: null,
    asksForPassword: false,
  });
  const [event] = Object.values(store.contents('events'));
  t.like(event, { kind: 'node-enrolled', subject: 'node/node-2' });
  t.false(JSON.stringify([log, [...Object.entries(store.contents('enrolments'))]]).includes(token));
});

test('the store keeps only a hash, on a lease that ends with the token', async t => {
  const { clock, store, enrolment: there, ask } = await world(t);
  const { token } = await there.issueToken({ ttlSeconds: 900, node: null });
  t.deepEqual(Object.keys(store.contents('enrolments')), [hashOfToken(parseJoinToken(token)!)]);
  await clock.advance(901_000);
  t.deepEqual(store.contents('enrolments'), {});
  await t.throwsAsync(there.enrol(ask(token)), { message: /^the token ended at / });
});

test('of many who come with one token at the same time, one gets in', async t => {
  const { enrolment: there, ask, parts } = await world(t);
  const other = enrolment(parts);
  const { token } = await there.issueToken({ ttlSeconds: 900, node: null });
  const results = await Promise.allSettled(
    Array.from({ length: 12 }, (_, index) =>
      (index % 2 === 0 ? there : other).enrol(ask(token, { node: `node-${index + 2}` })),
    ),
  );
  t.is(results.filter(result => result.status === 'fulfilled').length, 1);
  for (const result of results) {
    if (result.status === 'rejected') t.regex(String(result.reason), /used (already|by another)/);
  }
  await t.throwsAsync(there.enrol(ask(token)), { message: /^the token was used already, by node-\d+: / });
});

const strange = 'A'.repeat(43);
const refusals: {
  name: string;
  token?: (text: string) => string;
  bound?: string;
  asks?: Partial<EnrolmentRequest>;
  says: RegExp;
}[] = [
  { name: 'no token at all', token: () => 'open sesame', says: /is no join token/ },
  {
    name: 'a token whose secret is made up',
    token: text => joinTokenText({ ...parseJoinToken(text)!, secret: strange }),
    says: /is not known here/,
  },
  {
    name: 'a token whose end was moved',
    token: text => joinTokenText({ ...parseJoinToken(text)!, endsAt: new Date('2090-01-01') }),
    says: /is not known here/,
  },
  {
    name: "another cluster's token",
    token: text => joinTokenText({ ...parseJoinToken(text)!, fingerprint: strange }),
    says: /for the authority of another cluster/,
  },
  { name: "another node's token", bound: 'node-9', says: /is for node-9, not for node-2/ },
  { name: 'the name of a node that is there', asks: { node: 'node-1' }, says: /is a node of this cluster/ },
  { name: "another node's address", asks: { addresses: ['10.0.0.1'] }, says: /node-1 is reached under/ },
  { name: "another node's name for an address", asks: { addresses: ['node-1'] }, says: /node-1 is reached/ },
  { name: 'a request that is none', asks: { request: 'please' }, says: /not a certificate request/ },
];
for (const { name, token: change, bound = null, asks = {}, says } of refusals) {
  test(`refused: ${name}; and the token is still good`, async t => {
    const { store, enrolment: there, ask } = await world(t);
    const { token } = await there.issueToken({ ttlSeconds: 900, node: bound });
    await t.throwsAsync(there.enrol(ask(change?.(token) ?? token, asks)), { message: says });
    t.is(Object.values(store.contents('enrolments'))[0]?.usedBy, null);
    await t.notThrowsAsync(there.enrol(ask(token, { node: bound ?? 'node-2' })));
  });
}

test('a token of its own gives a node that is there a new certificate', async t => {
  const { enrolment: there, ask } = await world(t);
  const { token } = await there.issueToken({ ttlSeconds: 900, node: 'node-1' });
  const enrolled = await there.enrol(ask(token, { node: 'node-1', addresses: ['10.0.0.1'] }));
  t.is(factsOf(enrolled.certificate).commonName, 'node-1.test');
});

test('a node without the authority says where to ask, and one with an etcd of its own that nobody can join', async t => {
  const without = await world(t, { authorityDirectory: null });
  await t.throwsAsync(without.enrolment.authority(), { message: /does not hold the cluster's authority/ });
  const alone = await world(t, { etcd: null });
  await t.throwsAsync(alone.enrolment.issueToken({ ttlSeconds: 900, node: null }), {
    message: /an etcd of its own on loopback/,
  });
});

test("the authority of etcd's certificates is handed on", async t => {
  const directory = await mkdtemp(join(tmpdir(), 'hop3-enrol-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const caFile = join(directory, 'etcd-ca.pem');
  await writeFile(caFile, 'PEM');
  const { enrolment: there, ask } = await world(t, { etcd: { ...etcd, caFile } });
  const { token } = await there.issueToken({ ttlSeconds: 60, node: null });
  t.is((await there.enrol(ask(token))).etcd.authority, 'PEM');
});
