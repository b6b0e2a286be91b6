import test from 'ava';
import { parse } from 'yaml';
import { completeNodeConfig, settingOf } from '../../src/manifest/complete-node-config.ts';

const tls = { ca: '/a', cert: '/b', key: '/c' };

test('what is missing is added, with comments, order and values as they were', t => {
  const before = '# ours\nname: eu-1 # the first\nlabels: {zone: eu}\npeer:\n  listen: 10.0.0.1:7400\n';
  const { text, added, kept } = completeNodeConfig(before, [
    { path: ['name'], value: 'eu-1' },
    { path: ['peer', 'tls'], value: tls },
    { path: ['authority'], value: '/etc/hop3/authority' },
  ]);
  t.deepEqual(added, ['peer.tls', 'authority']);
  t.deepEqual(kept, []);
  t.true(text.startsWith('# ours\nname: eu-1 # the first\n'));
  t.deepEqual(parse(text), {
    name: 'eu-1',
    labels: { zone: 'eu' },
    peer: { listen: '10.0.0.1:7400', tls },
    authority: '/etc/hop3/authority',
  });
});

test('what says something else is left, and told', t => {
  const before = 'peer: {listen: "127.0.0.1:7400", tls: {ca: /x, cert: /y, key: /z}}\n';
  const completed = completeNodeConfig(before, [
    { path: ['peer', 'listen'], value: '10.0.0.1:7400' },
    { path: ['peer', 'tls'], value: tls },
  ]);
  t.is(completed.text, before);
  t.deepEqual(
    completed.kept.map(({ field, is }) => ({ field, is })),
    [
      { field: 'peer.listen', is: '127.0.0.1:7400' },
      { field: 'peer.tls', is: { ca: '/x', cert: '/y', key: '/z' } },
    ],
  );
});

test('completing twice changes nothing the second time', t => {
  const wanted = [
    { path: ['name'], value: 'eu-1' },
    { path: ['etcd', 'endpoints'], value: ['https://10.0.0.1:2379'] },
  ];
  const { text } = completeNodeConfig(null, wanted);
  t.deepEqual(completeNodeConfig(text, wanted), { text, added: [], kept: [] });
});

for (const { name, text } of [
  { name: 'a list', text: '- a\n' },
  { name: 'broken YAML', text: 'name: [a\n' },
]) {
  test(`${name} is given back as it is, for its reader to refuse`, t => {
    t.deepEqual(completeNodeConfig(text, [{ path: ['name'], value: 'x' }]), { text, added: [], kept: [] });
    t.is(settingOf(text, ['name']), undefined);
  });
}

test('a setting is read where it stands', t => {
  t.is(settingOf('peer: {listen: "a:1"}', ['peer', 'listen']), 'a:1');
  t.is(settingOf('peer: {}', ['peer', 'listen']), undefined);
  t.is(settingOf(null, ['peer']), undefined);
});
