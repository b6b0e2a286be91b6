import test from 'ava';
import { chunkName, chunkToken, type ChunkRecord } from '../../src/model/plan.ts';

const chunk: ChunkRecord = {
  v: 1,
  plan: 'p1',
  chunk: 0,
  first: 0,
  count: 1,
  owner: { node: 'n1', incarnation: 'i1', operation: 'o1' },
  token: null,
  steps: [],
};

test('names of chunks sort as the chunks do', t => {
  const names = [0, 9, 10, 99_999, 100_000].map(number => chunkName('p1', number));
  t.deepEqual(names.toSorted(), names);
  t.is(names[1], 'p1/000009');
});

test('the token of a chunk is the revision of its claim, whatever is written to it later', t => {
  t.is(chunkToken({ value: chunk, revision: 41n }), '41');
  t.is(chunkToken({ value: { ...chunk, token: '41' }, revision: 50n }), '41');
  t.is(chunkToken({ value: { ...chunk, owner: null, token: '41' }, revision: 50n }), null);
});

test('after a restored etcd tokens go on from where they were', t => {
  const owner = { node: 'n1', incarnation: 'i1', operation: 'o1', tokenBase: '1000000' };
  t.is(chunkToken({ value: { ...chunk, owner }, revision: 41n }), '1000041');
});
