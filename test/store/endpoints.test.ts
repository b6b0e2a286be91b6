import test from 'ava';
import { Endpoints } from '../../src/store/endpoints.ts';
import { StoreError } from '../../src/ports/store.ts';
import type { Member } from '../../src/store/member.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeLog } from '../support/fake-log.ts';
import { FakeRandom } from '../support/fake-random.ts';

/** Members known by a certificate, who have no token to renew. The first is asked first; `gone` are those that say nothing. */
function endpoints(...urls: string[]) {
  const clock = new FakeClock();
  const gone = new Set<string>();
  const asked: string[] = [];
  const members = urls.map(url => ({
    url,
    client: url,
    callOptions: () => Promise.resolve({}),
    isThere: async (timeoutMs: number) => {
      asked.push(url);
      if (gone.has(url)) await clock.sleep(timeoutMs);
      return !gone.has(url);
    },
    forgetToken: () => false,
    close: () => undefined,
  }));
  const random = Object.assign(new FakeRandom(), { float: () => 0 });
  const all = new Endpoints(members as unknown as Member[], { clock, random, log: new FakeLog() });
  const sent: string[] = [];
  /** A write that must not be sent twice; resolves with the member that answered. */
  const write = (): Promise<string> =>
    all.call({ what: 'commit', idempotent: false }, client => {
      const url = client as unknown as string;
      sent.push(url);
      return gone.has(url)
        ? clock.sleep(2000).then(() => Promise.reject(new Error('Deadline exceeded')))
        : Promise.resolve(url);
    });
  return { clock, all, gone, asked, sent, write };
}

const trouble = new StoreError('it has no leader', { outcome: 'not-sent', retryable: true });

const outdated = new Error('etcdserver: revision of auth store is old');

test('what met a change of users or roles on its way was not done, and is sent again to the same member', async t => {
  const { clock, all } = endpoints('a', 'b');
  const { current } = all;
  let sent = 0;
  const answer = all.call({ what: 'commit', idempotent: false }, () =>
    ++sent < 4 ? Promise.reject(outdated) : Promise.resolve('done'),
  );
  await clock.advance(1000);
  t.is(await answer, 'done');
  t.is(all.current, current);
});

test('what meets such changes for as long as it may take has been refused', async t => {
  const { clock, all } = endpoints('a');
  const answer = all.call({ what: 'commit', idempotent: false }, () => Promise.reject(outdated));
  const failing = t.throwsAsync(answer, { message: /commit: .*auth store/ });
  await clock.advance(5000);
  t.like(await failing, { outcome: 'refused', retryable: true });
});

test('what is to be written goes to no member that gives no sign of life while another does', async t => {
  const { clock, all, gone, sent, write } = endpoints('a', 'b', 'c');
  t.is(await write(), 'a');
  const silent: (string | undefined)[] = [];
  all.onMoved(member => silent.push(member?.url));
  gone.add('a').add('b');
  await clock.advance(1000);
  const answer = write();
  await clock.advance(300);
  t.is(await answer, 'c');
  t.deepEqual(sent, ['a', 'c'], 'nothing is left whose outcome nobody knows');
  t.deepEqual(silent, ['a']);
});

test('a member that was heard a moment ago is not asked whether it is there', async t => {
  const { clock, asked, write } = endpoints('a', 'b');
  await write();
  t.deepEqual(asked, ['a']);
  for (let count = 0; count < 5; count++) {
    await clock.advance(900);
    await write();
  }
  t.deepEqual(asked, ['a']);
});

test('many that want to write at once ask once', async t => {
  const { clock, asked, write } = endpoints('a', 'b');
  const answers = Promise.all([write(), write(), write()]);
  await clock.advance(0);
  t.deepEqual(await answers, ['a', 'a', 'a']);
  t.deepEqual(asked, ['a']);
});

test('when no member gives a sign of life, it is tried with the one that there is', async t => {
  const { clock, all, gone, sent, write } = endpoints('a', 'b', 'c');
  gone.add('a').add('b').add('c');
  const failing = t.throwsAsync(write(), { instanceOf: StoreError });
  await clock.advance(1000);
  t.is(all.current.url, 'a');
  await clock.advance(2000);
  t.is((await failing).outcome, 'unknown');
  t.deepEqual(sent, ['a']);
});

test('who leaves a member does not go back to one that gave no sign of life a while ago', async t => {
  const { clock, all, gone, write } = endpoints('a', 'b', 'c');
  gone.add('a');
  const answer = write();
  await clock.advance(300);
  t.is(await answer, 'b');
  const went: string[] = [];
  for (let count = 0; count < 3; count++) {
    all.failed(all.current, trouble);
    went.push(all.current.url);
  }
  t.deepEqual(went, ['c', 'b', 'c']);
  gone.delete('a');
  await clock.advance(10_000);
  all.failed(all.current, trouble);
  t.is(all.current.url, 'a', 'it may be back');
});

test('a member that is turned to is asked whether it is there before anything is to be written', async t => {
  const { clock, all, gone, sent, write } = endpoints('a', 'b', 'c');
  await write();
  gone.add('b');
  all.failed(all.current, trouble);
  t.is(all.current.url, 'b');
  await clock.advance(300);
  t.not(all.current.url, 'b');
  await write();
  t.false(sent.includes('b'));
});

test('what may have been sent to a member that fell silent is not sent again', async t => {
  const { clock, gone, sent, write } = endpoints('a', 'b');
  await write();
  gone.add('a');
  const failing = t.throwsAsync(write(), { instanceOf: StoreError });
  await clock.advance(2000);
  t.is((await failing).outcome, 'unknown');
  t.deepEqual(sent, ['a', 'a']);
});
