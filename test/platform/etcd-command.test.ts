import test from 'ava';
import { etcdArguments, etcdEnvironment, explainEtcdLog } from '../../src/platform/etcd-command.ts';
import { atLeast, newer } from '../../src/platform/tool-version.ts';

const command = { dataDir: '/d', clientPort: 2379, peerPort: 2380 };

const progressFlags: Record<string, string | undefined> = {
  '3.3.25': undefined,
  '3.4.23': '--experimental-watch-progress-notify-interval=5s',
  '3.5.30': '--experimental-watch-progress-notify-interval=5s',
  '3.6.1': '--watch-progress-notify-interval=5s',
};
for (const [version, flag] of Object.entries(progressFlags)) {
  test(`etcd ${version} is asked for progress by ${flag ?? 'nothing, for it has no such flag'}`, t => {
    t.is(
      etcdArguments({ ...command, version }).find(argument => argument.includes('progress')),
      flag,
    );
  });
}

test('everything it listens on is loopback', t => {
  const addresses = etcdArguments({ ...command, version: '3.4.23' }).flatMap(
    argument => argument.match(/https?:\/\/[^:/]+/g) ?? [],
  );
  t.true(addresses.length >= 5);
  t.deepEqual(new Set(addresses), new Set(['http://127.0.0.1']));
});

test('the environment has nothing that etcd would read as a flag, but on ARM', t => {
  t.deepEqual(Object.keys(etcdEnvironment('x64')), ['PATH']);
  t.is(etcdEnvironment('arm64')['ETCD_UNSUPPORTED_ARCH'], 'arm64');
});

const lastWords: [string, RegExp | null][] = [
  [
    '{"level":"fatal","msg":"invalid downgrade; server version is lower than determined cluster version","current-server-version":"3.4.23","determined-cluster-version":"3.5"}',
    /written by a newer etcd/,
  ],
  [
    '{"msg":"cluster cannot be downgraded (current version: 3.4.23 is lower than determined cluster version: 3.5)."}',
    /newer/,
  ],
  ['panic: walpb: crc mismatch', /damaged/],
  ['open /d/member: permission denied', /another user/],
  ['{"msg":"listen tcp 127.0.0.1:2379: bind: address already in use"}', /ports was taken/],
  ['{"level":"warn","msg":"all is well"}', null],
];
for (const [line, meaning] of lastWords) {
  test(`the last words ${line.slice(0, 70)}… mean ${String(meaning)}`, t => {
    const said = explainEtcdLog(['{"level":"info"}', line], '/d');
    if (meaning === null) t.is(said, null);
    else t.regex(said ?? '', meaning);
  });
}

test('versions are compared by number', t => {
  t.true(atLeast('3.4.23', [3, 4, 9]));
  t.false(atLeast('3.4.23', [3, 5, 0]));
  t.true(atLeast('3.10.0-rc1', [3, 9, 9]));
  t.true(newer('3.5.30', '3.5.16'));
  t.false(newer('3.4.23', '3.4.23'));
  t.false(newer('3.4.23', '3.5.0'));
});
