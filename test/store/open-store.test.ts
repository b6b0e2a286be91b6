import test from 'ava';
import { openStore, type OpenStoreOptions } from '../../src/store/open-store.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeLog } from '../support/fake-log.ts';
import { FakeRandom } from '../support/fake-random.ts';

const plain = { endpoints: ['http://127.0.0.1:2379'], cluster: 'test' };
const tls = { ca: '/nowhere/ca.crt', cert: '/nowhere/node.crt', key: '/nowhere/node.key' };

const mistakes: { title: string; options: Partial<OpenStoreOptions>; words: RegExp }[] = [
  { title: 'no endpoint', options: { endpoints: [] }, words: /at least one endpoint, as in http:\/\/10/ },
  {
    title: 'no scheme',
    options: { endpoints: ['127.0.0.1:2379'] },
    words: /"127.0.0.1:2379" is not an etcd/,
  },
  { title: 'no port', options: { endpoints: ['http://etcd'] }, words: /is not an etcd endpoint/ },
  {
    title: 'https without tls',
    options: { endpoints: ['https://etcd:2379'] },
    words: /needs the tls settings/,
  },
  { title: 'tls without https', options: { tls }, words: /has no TLS though tls is set: write https/ },
  {
    title: 'a file that is not there',
    options: { tls, endpoints: ['https://etcd:2379'] },
    words: /^tls\.ca: the file \/nowhere\/ca\.crt cannot be read$/,
  },
  {
    title: 'half a login',
    options: { username: 'root' },
    words: /username and password must be set together/,
  },
  { title: 'a cluster name with a slash', options: { cluster: 'a/b' }, words: /cannot name a cluster/ },
];
for (const { title, options, words } of mistakes) {
  test(`settings with ${title} are refused in words`, t => {
    const parts = { clock: new FakeClock(), log: new FakeLog(), random: new FakeRandom() };
    t.throws(() => openStore({ ...plain, ...parts, ...options }), { message: words });
  });
}

test('opening connects to nothing', async t => {
  const parts = { clock: new FakeClock(), log: new FakeLog(), random: new FakeRandom() };
  const store = openStore({ ...plain, ...parts, endpoints: ['http://127.0.0.1:1', 'http://[::1]:1/'] });
  await store.close();
  t.is(parts.clock.pending, 0);
});
