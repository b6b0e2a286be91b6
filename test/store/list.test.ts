import test from 'ava';
import { RevisionGoneError } from '../../src/store/errors.ts';
import { listAll } from '../../src/store/list.ts';
import type { RangeRequest, Wire } from '../../src/store/wire.ts';

function wireOf(
  answer: (request: RangeRequest, call: number) => { key: string; more: boolean; revision: bigint },
) {
  const requests: RangeRequest[] = [];
  const wire = {
    range: async (request: RangeRequest) => {
      const { key, more, revision } = answer(request, requests.push(request));
      const entry = { key, text: '{}', createRevision: 1n, revision: 1n, lease: null };
      return { head: { clusterId: 'stub', revision }, entries: [entry], more };
    },
  } as unknown as Wire;
  return { wire, requests };
}

test('every page is asked for as of the revision of the first', async t => {
  const { wire, requests } = wireOf((_, call) => ({
    key: `/k/${call}`,
    more: call < 3,
    revision: 10n + BigInt(call),
  }));
  const found = await listAll(wire, '/k/');
  t.is(found.head.revision, 11n);
  t.deepEqual(
    requests.map(request => [request.range, request.atRevision]),
    [
      [{ prefix: '/k/' }, undefined],
      [{ prefix: '/k/', afterKey: '/k/1' }, 11n],
      [{ prefix: '/k/', afterKey: '/k/2' }, 11n],
    ],
  );
});

test('when that revision is compacted between two pages, the list begins again', async t => {
  const { wire } = wireOf((_, call) => {
    if (call === 2) throw new RevisionGoneError('compacted', { outcome: 'refused', retryable: true });
    return { key: `/k/${call}`, more: call < 4, revision: BigInt(call) };
  });
  const found = await listAll(wire, '/k/');
  t.deepEqual(
    found.entries.map(entry => entry.key),
    ['/k/3', '/k/4'],
  );
  t.is(found.head.revision, 3n);
});

test('a list that never gets through fails in the end', async t => {
  const gone = new RevisionGoneError('compacted', { outcome: 'refused', retryable: true });
  const { wire, requests } = wireOf(() => {
    throw gone;
  });
  await t.throwsAsync(listAll(wire, '/k/'), { is: gone });
  t.is(requests.length, 5);
});
