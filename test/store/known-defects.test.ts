import test from 'ava';
import { knownDefects, mayReadStale } from '../../src/store/known-defects.ts';

const versions = [
  { version: '3.4.19', stale: false, count: 5 },
  { version: '3.4.23', stale: true, count: 6 },
  { version: '3.4.45', stale: false, count: 2 },
  { version: '3.5.16', stale: true, count: 3 },
  { version: '3.5.27', stale: true, count: 2 },
  { version: '3.5.28', stale: false, count: 0 },
  { version: '3.6.8', stale: true, count: 2 },
  { version: '3.6.9', stale: false, count: 0 },
  { version: '3.7.0', stale: false, count: 0 },
  { version: '3.3.1', stale: false, count: 1 },
  { version: 'devel', stale: true, count: 1 },
];
for (const { version, stale, count } of versions) {
  test(`etcd ${version} has ${count} things to say, stale reads ${stale ? 'among' : 'not among'} them`, t => {
    t.is(mayReadStale(version), stale);
    t.is(knownDefects(version).length, count);
  });
}

test('a defect is said in words, with the version that has none of it', t => {
  t.is(
    knownDefects('3.4.23')[0],
    'etcd 3.4.23: stale linearizable reads after a pause of the process (fixed in 3.4.42)',
  );
  t.is(knownDefects('3.5.2').at(-1), 'etcd 3.5.2: 3.5.28 or later, or 3.6.9 or later, is recommended');
});
