import test from 'ava';
import { Endpoints } from '../../src/store/endpoints.ts';
import type { Member } from '../../src/store/member.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeLog } from '../support/fake-log.ts';
import { FakeRandom } from '../support/fake-random.ts';

/** Members known by a certificate, who have no token to renew. */
function endpoints(...urls: string[]) {
  const clock = new FakeClock();
  const members = urls.map(url => ({
    url,
    client: null,
    callOptions: () => Promise.resolve({}),
    forgetToken: () => false,
    close: () => undefined,
  }));
  const parts = { clock, random: new FakeRandom(), log: new FakeLog() };
  return { clock, all: new Endpoints(members as unknown as Member[], parts) };
}

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
