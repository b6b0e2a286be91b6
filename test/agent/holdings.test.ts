/** The owner's half of ownership rules 1, 4, 5, 8, 9 and 10, each by its number: one suite for one class, on the in-memory etcd. */
import test from 'ava';
import { Holdings, type Claim } from '../../src/agent/holdings.ts';
import { Ledger } from '../../src/agent/ledger.ts';
import type { OwnerRecord } from '../../src/model/records.ts';
import type { Entry, Session } from '../../src/ports/store.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeLog } from '../support/fake-log.ts';
import { FakeRandom } from '../support/fake-random.ts';
import { FakeEtcd } from '../support/fake-store.ts';
import { sessionRecord } from '../support/store-worlds.ts';

const SUBJECT = 'instance/blog/web/0';
const INSTANCE = 'blog/web/0';

function world() {
  const clock = new FakeClock();
  const etcd = new FakeEtcd(clock);
  let incarnations = 0;
  return {
    clock,
    etcd,
    owner: () => etcd.contents('owners')[SUBJECT],
    member: async (node: string) => {
      const store = etcd.client(node);
      const log = new FakeLog();
      const ledger = new Ledger({ node, store, clock, log });
      const holdings = new Holdings({ node, store, clock, random: new FakeRandom(node.length), ledger });
      const join = (): Promise<Session> =>
        store.openSession({
          record: sessionRecord({ node, incarnation: `i${++incarnations}` }),
          resume: null,
        });
      const session = await join();
      const read = async (): Promise<Entry<'owners'> | undefined> =>
        (await store.get('owners', SUBJECT)) ?? undefined;
      const take = async (as: Session = session): Promise<boolean> =>
        holdings.acquire(SUBJECT, as, await read(), 'to be tried');
      return { node, store, holdings, session, join, read, take };
    },
  };
}

test('what nobody owns is taken, and the token is the revision it was taken at', async t => {
  const { member, owner, etcd } = world();
  const one = await member('node-1');
  t.true(await one.take());
  t.deepEqual(one.holdings.held().get(SUBJECT), {
    subject: SUBJECT,
    exclusive: false,
    takenAt: 3n,
    releasing: null,
    instance: INSTANCE,
    token: String(etcd.revision),
    incarnation: one.session.incarnation,
    lease: one.session.lease,
  });
  t.like(owner(), { node: 'node-1', incarnation: one.session.incarnation, released: null, mayStillRun: [] });
});

test('rule 1: what a live session owns cannot be taken', async t => {
  const { member, owner } = world();
  const one = await member('node-1');
  const two = await member('node-2');
  await one.take();
  const before = owner();
  t.false(await two.take());
  t.deepEqual(owner(), before);
  t.is(two.holdings.held().size, 0);
});

test('rule 1: nobody takes over what has changed since it was read', async t => {
  const { member, owner } = world();
  const one = await member('node-1');
  const two = await member('node-2');
  const known = await two.read();
  await one.take();
  await one.session.revoke();
  t.false(await two.holdings.acquire(SUBJECT, two.session, known, 'as it was'));
  t.is(owner()?.node, 'node-1');
  t.true(await two.take(), 'as it is now, it can be taken');
});

for (const { title, lose } of [
  { title: 'is on another lease', lose: 'replaced' },
  { title: 'is gone', lose: 'deleted' },
] as const) {
  test(`rule 1: a session whose key ${title}, and which has not noticed, takes nothing`, async t => {
    const { member, owner, etcd } = world();
    const one = await member('node-1');
    const key = `node-1/${one.session.incarnation}`;
    etcd.losesEvents = true;
    if (lose === 'replaced') etcd.put('sessions', key, sessionRecord({ node: 'node-1' }));
    else etcd.delete('sessions', key);
    t.true(one.session.valid());
    t.false(await one.take());
    t.is(owner(), undefined);
  });
}

const claimOn = (subject: string, known?: Entry<'owners'>): Claim => ({
  subject,
  known,
  reason: 'to be tried',
  taking: {},
});

test('rule 1: many are taken at once, in as few transactions as hold them', async t => {
  const { member, etcd } = world();
  const one = await member('node-1');
  const subjects = Array.from({ length: 50 }, (_, index) => `instance/blog/web/${index}`);
  const before = etcd.revision;
  const taken = await one.holdings.acquireAll(
    subjects.map(subject => claimOn(subject)),
    one.session,
  );
  t.deepEqual([...taken].toSorted(), subjects.toSorted());
  t.is(etcd.revision - before, 2n);
  const tokens = [...one.holdings.held().values()].map(({ subject, token }) => `${subject} ${token}`);
  const { entries } = await one.store.list('owners');
  t.deepEqual(
    tokens.toSorted(),
    entries.map(({ name, revision }) => `${name} ${revision}`),
  );
});

for (const { title, others } of [
  { title: 'the first', others: ['instance/blog/web/1', 'instance/blog/web/2'] },
  { title: 'the last', others: ['instance/a/web/0', 'instance/b/web/0'] },
]) {
  test(`rule 1: where one of many has another owner, ${title} of them, only that one is not taken`, async t => {
    const { member, owner } = world();
    const [one, two] = [await member('node-1'), await member('node-2')];
    await two.take();
    const subjects = [SUBJECT, ...others].toSorted();
    const taken = await one.holdings.acquireAll(
      subjects.map(subject => claimOn(subject)),
      one.session,
    );
    t.deepEqual([...taken].toSorted(), others);
    t.is(owner()?.node, 'node-2');
    t.deepEqual([...one.holdings.held().keys()].toSorted(), others);
  });
}

test('many claims whose reply was lost are recognised, each by its operation', async t => {
  const { clock, member } = world();
  const one = await member('node-1');
  one.store.setLink('replies-lost');
  const others = ['instance/blog/web/1', 'instance/blog/web/2'];
  const taking = one.holdings.acquireAll(
    others.map(subject => claimOn(subject)),
    one.session,
  );
  await clock.advance(1990);
  one.store.setLink('up');
  await clock.advance(10);
  t.deepEqual([...(await taking)].toSorted(), others);
  t.deepEqual([...one.holdings.held().keys()].toSorted(), others);
});

test('rule 1: what was released, and taken by another since, cannot be taken as if it were free', async t => {
  const { member, owner } = world();
  const [one, two, three] = await Promise.all(['node-1', 'node-2', 'node-3'].map(member));
  await one!.take();
  await one!.holdings.release(SUBJECT, one!.holdings.held().get(SUBJECT)!.token, 'stopped');
  const released = await three!.read();
  await two!.take();
  t.false(await three!.holdings.acquire(SUBJECT, three!.session, released, 'as it was'));
  t.is(owner()?.node, 'node-2');
});

test('rule 1: of two who try at once, one gets it', async t => {
  const { member, owner } = world();
  const members = await Promise.all(['node-1', 'node-2', 'node-3'].map(member));
  const taken = await Promise.all(members.map(each => each.take()));
  t.is(taken.filter(Boolean).length, 1);
  t.is(owner()?.node, members[taken.indexOf(true)]?.node);
});

test('what is taken from a session that may still run it says so', async t => {
  const { member, owner } = world();
  const one = await member('node-1');
  const two = await member('node-2');
  await one.take();
  await one.session.revoke();
  t.true(await two.take());
  t.deepEqual(owner()?.mayStillRun, ['node-1']);
});

for (const { title, formerly, expected } of [
  { title: 'what was released runs nowhere', formerly: 'released', expected: [] },
  { title: 'a node knows what it runs itself', formerly: 'own', expected: [] },
] as const) {
  test(`mayStillRun: ${title}`, async t => {
    const { member, owner } = world();
    const one = await member('node-1');
    const two = await member('node-2');
    await one.take();
    if (formerly === 'released') {
      await one.holdings.release(SUBJECT, one.holdings.held().get(SUBJECT)!.token, 'stopped');
      t.true(await two.take());
    } else {
      await one.session.revoke();
      t.true(await one.take(await one.join()));
    }
    t.deepEqual(owner()?.mayStillRun, expected);
  });
}

test('only the confirmed stop of a node takes it off the list, and the token stays what it was', async t => {
  const { member, owner } = world();
  const [one, two, three] = await Promise.all(['node-1', 'node-2', 'node-3'].map(member));
  await one!.take();
  await one!.session.revoke();
  await two!.take();
  await two!.session.revoke();
  await three!.take();
  const token = three!.holdings.held().get(SUBJECT)!.token;
  t.deepEqual(owner()?.mayStillRun, ['node-1', 'node-2']);
  await one!.holdings.confirmStopped((await one!.read())!);
  t.deepEqual(owner()?.mayStillRun, ['node-2']);
  t.is(owner()?.node, 'node-3');
  await three!.holdings.release(SUBJECT, token, 'stopped');
  t.not(owner()?.released, null, 'it is released by the token it was taken with');
});

test('a claim whose reply was lost is recognised by its operation', async t => {
  const { clock, member, owner } = world();
  const one = await member('node-1');
  one.store.setLink('replies-lost');
  const taking = one.holdings.acquire(SUBJECT, one.session, undefined, 'its reply is lost');
  await clock.advance(1990);
  one.store.setLink('up');
  await clock.advance(10);
  t.true(await taking);
  t.is(owner()?.node, 'node-1');
  t.is(one.holdings.held().get(SUBJECT)?.token, String((await one.read())!.revision));
});

test('a claim whose reply was lost has the token it was taken with, whoever has confirmed a stop since', async t => {
  const { clock, etcd, member } = world();
  const two = await member('node-2');
  await two.take();
  etcd.killLease(two.session.lease);
  const one = await member('node-1');
  const known = await one.read();
  one.store.setLink('replies-lost');
  const taking = one.holdings.acquire(SUBJECT, one.session, known, 'its reply is lost');
  await clock.advance(1000);
  const taken = (await two.read())!;
  await two.holdings.confirmStopped(taken);
  one.store.setLink('up');
  await clock.advance(1000);
  t.true(await taking);
  t.is(one.holdings.held().get(SUBJECT)?.token, String(taken.revision));
});

test('a claim that was made, and neither answered nor found at once, is discovered later', async t => {
  const { clock, member, owner } = world();
  const one = await member('node-1');
  one.store.setLink('replies-lost');
  const failed = t.throwsAsync(one.holdings.acquire(SUBJECT, one.session, undefined, 'never heard of'));
  await clock.advance(4000);
  await failed;
  one.store.setLink('up');
  t.is(owner()?.node, 'node-1');
  t.is(one.holdings.held().size, 0);
  const entry = (await one.read())!;
  await one.holdings.discover(one.session, [entry]);
  t.is(one.holdings.held().get(SUBJECT)?.token, String(entry.revision));
});

test('nothing is discovered that the store does not say any more', async t => {
  const { member } = world();
  const one = await member('node-1');
  await one.take();
  const seen = (await one.read())!;
  await one.holdings.release(SUBJECT, String(seen.revision), 'stopped');
  await one.holdings.discover(one.session, [seen]);
  t.is(one.holdings.held().size, 0);
});

test('a lost reply of a claim that another node won is no claim', async t => {
  const { clock, etcd, member } = world();
  const one = await member('node-1');
  one.store.setLink('silent');
  const taking = one.holdings.acquire(SUBJECT, one.session, undefined, 'never arrives');
  const other: OwnerRecord = { ...ownerRecord(), node: 'node-2', operation: 'another' };
  etcd.put('owners', SUBJECT, other);
  await clock.advance(1990);
  one.store.setLink('up');
  await clock.advance(10);
  t.false(await taking);
  t.is(one.holdings.held().size, 0);
});

test('rule 4: after the deadline nothing is even tried', async t => {
  const { clock, member, owner } = world();
  const one = await member('node-1');
  const known = await one.read();
  clock.freeze(one.session.deadlineMs() - clock.now());
  t.false(await one.holdings.acquire(SUBJECT, one.session, known, 'too late'));
  t.is(owner(), undefined);
});

test('rule 4: a claim that comes back after the deadline is not held, and free for the next', async t => {
  const { clock, etcd, member, owner } = world();
  const one = await member('node-1');
  const two = await member('node-2');
  one.store.setReplyDelay(1500);
  clock.freeze(one.session.deadlineMs() - clock.now() - 1000);
  const taking = one.holdings.acquire(SUBJECT, one.session, undefined, 'just in time, and yet too late');
  await clock.advance(1500);
  t.false(await taking);
  t.is(one.holdings.held().size, 0);
  t.is(owner()?.node, 'node-1', 'it was written all the same');
  one.store.setLink('refused');
  etcd.killLease(one.session.lease);
  t.true(await two.holdings.acquire(SUBJECT, await two.join(), await two.read(), 'it is free'));
});

test('rule 10: a release tells the token and why, and the subject is free', async t => {
  const { member, owner } = world();
  const one = await member('node-1');
  const two = await member('node-2');
  await one.take();
  const token = one.holdings.held().get(SUBJECT)!.token;
  await one.holdings.release(SUBJECT, token, 'scaled to 0');
  t.like(owner(), { node: 'node-1', token, released: { reason: 'scaled to 0' } });
  t.is(one.holdings.held().size, 0);
  t.true(await two.take(), 'though the session of the former owner lives');
});

test('rule 10: a zombie that releases what was taken from it changes nothing', async t => {
  const { member, owner } = world();
  const one = await member('node-1');
  const two = await member('node-2');
  await one.take();
  const token = one.holdings.held().get(SUBJECT)!.token;
  await one.session.revoke();
  await two.take();
  const before = owner();
  await one.holdings.release(SUBJECT, token, 'what it believes to be its own');
  t.deepEqual(owner(), before);
  t.is(one.holdings.held().size, 0, 'it knows now');
});

test('rule 10: an earlier token of the same node releases nothing', async t => {
  const { member, owner } = world();
  const one = await member('node-1');
  await one.take();
  const earlier = one.holdings.held().get(SUBJECT)!.token;
  await one.session.revoke();
  await one.take(await one.join());
  await one.holdings.release(SUBJECT, earlier, 'of an earlier session');
  t.is(owner()?.released, null);
});

test('rule 10: a release that meets another write is not taken for done', async t => {
  const { etcd, member, owner } = world();
  const one = await member('node-1');
  await one.take();
  const token = one.holdings.held().get(SUBJECT)!.token;
  const get = one.store.get.bind(one.store);
  // Between reading and writing, another node confirms its stop.
  one.store.get = async (kind, name) => {
    const entry = await get(kind, name);
    etcd.put('owners', SUBJECT, { ...owner()!, token, mayStillRun: [] });
    one.store.get = get;
    return entry;
  };
  const error = await t.throwsAsync(one.holdings.release(SUBJECT, token, 'stopped'));
  t.like(error, { retryable: true, outcome: 'refused' });
  t.true(one.holdings.held().has(SUBJECT));
  await one.holdings.release(SUBJECT, token, 'stopped');
  t.not(owner()?.released, null);
});

for (const { title, act } of [
  {
    title: 'a release',
    act: (holdings: Holdings, token: string) => holdings.release(SUBJECT, token, 'stopped'),
  },
  {
    title: 'a hand-over',
    act: (holdings: Holdings) => holdings.handOver(holdings.held().get(SUBJECT)!, 'a drain'),
  },
]) {
  test(`rule 10: ${title} by the agent before, held up on its way, takes nothing from the one that goes on with its session`, async t => {
    const { member, owner } = world();
    const one = await member('node-1');
    await one.take();
    const { token, incarnation, lease } = one.holdings.held().get(SUBJECT)!;
    await one.session.detach();
    const record = sessionRecord({ node: 'node-1' });
    const resumed = await one.store.openSession({ record, resume: { incarnation, lease } });
    t.true(resumed.resumed);
    await t.throwsAsync(act(one.holdings, token), { message: /the session it was taken under changed/ });
    t.is(owner()?.released, null);
    await one.holdings.resume(resumed);
    await act(one.holdings, token);
    t.not(owner()?.released, null);
  });
}

test('rule 10: what is left of a lost session is released when nobody can go on with it any more', async t => {
  const { etcd, member, owner } = world();
  const one = await member('node-1');
  await one.take();
  const { token, incarnation } = one.holdings.held().get(SUBJECT)!;
  one.holdings.lose();
  await t.throwsAsync(one.holdings.release(SUBJECT, token, 'stopped'), { message: /not released yet/ });
  t.is(owner()?.released, null);
  etcd.delete('sessions', `node-1/${incarnation}`);
  await one.holdings.release(SUBJECT, token, 'stopped');
  t.not(owner()?.released, null);
});

test('a lost session owns nothing, and remembers everything', async t => {
  const { member } = world();
  const one = await member('node-1');
  let changes = 0;
  const stop = one.holdings.onChange(() => changes++);
  await one.take();
  one.holdings.lose();
  t.is(one.holdings.held().size, 0);
  t.deepEqual([...one.holdings.former().keys()], [SUBJECT]);
  t.is(changes, 2);
  stop();
  one.holdings.forget(SUBJECT);
  t.is(one.holdings.former().size, 0);
  t.is(changes, 2, 'who stopped listening is not called');
});

test('what is taken again, or resumed, is former no more', async t => {
  const { member } = world();
  const one = await member('node-1');
  await one.take();
  const token = one.holdings.held().get(SUBJECT)!.token;
  one.holdings.lose();
  await one.holdings.resume(one.session);
  t.is(one.holdings.held().get(SUBJECT)?.token, token);
  t.is(one.holdings.former().size, 0);
  one.holdings.lose();
  await one.session.revoke();
  await one.take(await one.join());
  t.is(one.holdings.former().size, 0);
});

test('only what this very session owns is resumed', async t => {
  const { etcd, member } = world();
  const one = await member('node-1');
  const { incarnation } = one.session;
  const owned = (index: number, parts: Partial<OwnerRecord>): void => {
    const subject = `instance/blog/web/${index}`;
    etcd.put('owners', subject, { ...ownerRecord(), subject, incarnation, ...parts });
  };
  owned(0, {});
  owned(1, { incarnation: 'earlier' });
  owned(2, { node: 'node-2' });
  owned(3, { released: { at: '2026-01-01T00:00:00.000Z', reason: 'stopped' } });
  owned(4, { token: '7' });
  await one.holdings.resume(one.session);
  t.deepEqual([...one.holdings.held().keys()], ['instance/blog/web/0', 'instance/blog/web/4']);
  t.is(one.holdings.held().get('instance/blog/web/4')?.token, '7');
});

test('what runs here unowned is remembered once, and never over what is held', async t => {
  const { member } = world();
  const one = await member('node-1');
  one.holdings.remember(INSTANCE, SUBJECT);
  one.holdings.remember(INSTANCE, SUBJECT);
  t.like(one.holdings.former().get(SUBJECT), { instance: INSTANCE, incarnation: '' });
  await one.take();
  one.holdings.remember(INSTANCE, SUBJECT);
  t.is(one.holdings.former().size, 0);
});

function ownerRecord(): OwnerRecord {
  return {
    v: 1,
    subject: SUBJECT,
    node: 'node-1',
    incarnation: 'i1',
    ttlSeconds: 10,
    holder: 'agent',
    operation: 'first',
    mayStillRun: [],
    released: null,
    token: null,
  };
}

test('rule 9: what is read for a session that has ended meanwhile is not held', async t => {
  const { member } = world();
  const one = await member('node-1');
  await one.take();
  one.holdings.lose();
  const reading = one.holdings.resume(one.session);
  await one.session.detach();
  await reading;
  t.is(one.holdings.held().size, 0);
});

test('rule 8: who takes as redundant what was exclusive has not waited, and says who may still run it', async t => {
  const { etcd, member, owner } = world();
  const one = await member('node-1');
  const two = await member('node-2');
  t.true(await one.holdings.acquire(SUBJECT, one.session, undefined, 'to be tried', { exclusive: true }));
  etcd.killLease(one.session.lease);
  t.true(await two.take());
  t.deepEqual(owner()?.mayStillRun, ['node-1']);
});

test('what is handed over is former here and free for others, who remember that it may still run here', async t => {
  const { member, owner } = world();
  const [one, two] = [await member('node-1'), await member('node-2')];
  await one.take();
  const holding = one.holdings.held().get(SUBJECT)!;
  await one.holdings.handOver(holding, 'a drain');
  t.false(one.holdings.held().has(SUBJECT));
  t.deepEqual(one.holdings.former().get(SUBJECT), holding);
  t.like(owner(), { released: { reason: 'a drain' }, mayStillRun: ['node-1'] });
  t.true(await two.take());
  t.like(owner(), { node: 'node-2', released: null, mayStillRun: ['node-1'] });
});

test('rule 5: what must never run twice is not handed over alive', async t => {
  const { member, owner } = world();
  const one = await member('node-1');
  await one.holdings.acquire(SUBJECT, one.session, undefined, 'to be tried', { exclusive: true });
  const holding = one.holdings.held().get(SUBJECT)!;
  await t.throwsAsync(one.holdings.handOver(holding, 'a drain'), { message: /is exclusive/ });
  t.is(owner()?.released, null);
  t.true(one.holdings.held().has(SUBJECT));
});

test('what somebody else has by now is not handed over', async t => {
  const { member, owner, etcd } = world();
  const one = await member('node-1');
  await one.take();
  const holding = one.holdings.held().get(SUBJECT)!;
  await one.session.revoke();
  const two = await member('node-2');
  await two.take();
  const { revision } = etcd;
  await one.holdings.handOver(holding, 'a drain');
  t.is(etcd.revision, revision);
  t.like(owner(), { node: 'node-2', released: null });
});
