import test from 'ava';
import fc from 'fast-check';
import type { NodePromise } from '../../src/model/node-promise.ts';
import { changes } from '../../src/promise/changes.ts';
import { runningPromise } from '../support/nouns.ts';

const first = runningPromise();
const second = runningPromise({ instance: 'blog/web/1', index: 1 });

test('what is new is made now', t => {
  const { made, changed, withdrawn, all } = changes([], [fresh(first)], 'now');
  t.deepEqual(made, [{ ...first, madeAt: 'now' }]);
  t.deepEqual(all, made);
  t.deepEqual([changed, withdrawn], [[], []]);
});

test('what stands unchanged is not written again', t => {
  const { made, changed, withdrawn, all } = changes([first, second], [fresh(first), fresh(second)], 'now');
  t.deepEqual([made, changed, withdrawn], [[], [], []]);
  t.deepEqual(all, [first, second]);
});

test('the order of fields is no change', t => {
  const reversed = Object.fromEntries(Object.entries(first).reverse()) as unknown as NodePromise;
  t.deepEqual(changes([reversed], [fresh(first)], 'now').changed, []);
});

test('what changed keeps the time it was made at', t => {
  const moved = runningPromise({ endpoint: { host: '127.0.0.1', port: 5000 } });
  t.deepEqual(changes([first], [fresh(moved)], 'now').changed, [{ ...moved, madeAt: first.madeAt }]);
});

test('what is not promised any more is withdrawn with a reason', t => {
  const { withdrawn, all } = changes([first, second], [fresh(second)], 'now');
  t.deepEqual(withdrawn, [{ promise: first, reason: "blog/web/0 is not this node's to run any more" }]);
  t.deepEqual(all, [second]);
});

test('a reason that is known is the reason', t => {
  const reasons = new Map([[first.name, 'scaled to 1']]);
  t.is(changes([first], [], 'now', reasons).withdrawn[0]?.reason, 'scaled to 1');
});

const bodies: [NodePromise['body'], RegExp][] = [
  [{ kind: 'capacity', memoryBytes: 1, cpu: 1 }, /leaving/],
  [{ kind: 'serving', hostname: 'h', app: 'blog', instances: 1 }, /no copy of blog is ready/],
  [{ kind: 'holding', artifact: 'sha256:ab', bytes: 1 }, /artifact/],
  [{ kind: 'deploying', app: 'blog', release: 3, step: 'build' }, /deployment of blog release 3/],
  [{ kind: 'draining', reason: 'why', left: 1, stays: [] }, /takes work again/],
  [{ kind: 'request', request: 'r1', action: 'restart' }, /restart/],
];
for (const [body, reason] of bodies) {
  test(`a ${body.kind} promise has its own usual reason`, t => {
    t.regex(changes([{ ...first, name: body.kind, body }], [], 'now').withdrawn[0]?.reason ?? '', reason);
  });
}

test('applying the changes always leads to what was wanted, and then there are none', t => {
  const some = fc.uniqueArray(
    fc
      .record({ index: fc.nat({ max: 5 }), port: fc.constantFrom(4001, 4002) })
      .map(({ index, port }) =>
        runningPromise({ instance: `blog/web/${index}`, index, endpoint: { host: '127.0.0.1', port } }),
      ),
    { selector: promise => promise.name },
  );
  fc.assert(
    fc.property(some, some, (before, after) => {
      const store = new Map(before.map(promise => [promise.name, promise]));
      const { made, changed, withdrawn, all } = changes(before, after.map(fresh), 'now');
      for (const promise of [...made, ...changed]) store.set(promise.name, promise);
      for (const { promise } of withdrawn) store.delete(promise.name);
      t.deepEqual(new Map(all.map(promise => [promise.name, promise])), sorted(store, all));
      const again = changes(all, after.map(fresh), 'later');
      t.deepEqual([again.made, again.changed, again.withdrawn], [[], [], []]);
    }),
  );
});

function fresh(promise: NodePromise): Omit<NodePromise, 'madeAt'> {
  const copy: Partial<NodePromise> = { ...promise };
  delete copy.madeAt;
  return copy as Omit<NodePromise, 'madeAt'>;
}

function sorted(store: Map<string, NodePromise>, order: NodePromise[]): Map<string, NodePromise | undefined> {
  return new Map([...order.map(({ name }) => name), ...store.keys()].map(name => [name, store.get(name)]));
}
