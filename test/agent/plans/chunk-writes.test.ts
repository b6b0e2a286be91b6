import test from 'ava';
import { ChunkWrites } from '../../../src/agent/plans/chunk-writes.ts';
import { PlanBook } from '../../../src/agent/plans/plan-book.ts';
import type { Turn } from '../../../src/agent/plans/turn.ts';
import { chunkToken, type ChunkOwner } from '../../../src/model/plan.ts';
import { newPlan } from '../../../src/workflow/submission.ts';
import { noop, submission } from '../../support/plan-cluster.ts';
import { sessionRecord } from '../../support/store-worlds.ts';
import { member } from '../helpers.ts';

const nothing: Turn = {
  records: [],
  starts: [],
  over: [],
  stops: [],
  refused: [],
  keys: [],
  expire: false,
  settle: null,
  poisoned: [],
  hungry: false,
  lacksRoom: false,
  wakeInMs: null,
};

/** A plan of one chunk in the store, as this node knows it. */
async function scene(owner: ChunkOwner | null = null) {
  const one = await member();
  const { etcd, world, store, clock, log, random, keeper } = one;
  const book = new PlanBook({ world, store, clock, log });
  const writes = new ChunkWrites({
    ...{ node: 'node-1', store, book, clock, random },
    epoch: () => undefined,
    onCommitted: () => undefined,
  });
  const given = { plan: 'p', submittedAt: clock.timestamp(), origin: 'test', idempotencyKey: null };
  const made = newPlan(submission([noop()]).spec, given);
  etcd.put('plans', 'p', made.plan);
  etcd.put('steps', 'p/000000', { ...made.chunks[0]!, owner });
  await clock.settle();
  const session = keeper.current();
  const plan = book.get('p');
  if (session === null || plan === undefined) throw new Error('there are a session and a plan');
  const claim = () => writes.commit(writes.claim(plan, 0, nothing, session)!, 'claim');
  const write = (token: string) => writes.commit(writes.ofOwner(plan, 0, nothing, session, token)!, 'steps');
  const owned = async (): Promise<string> => {
    await claim();
    return chunkToken(plan.chunks[0]!.entry)!;
  };
  return { ...one, book, plan, session, claim, write, owned };
}

/** As another node writes it, before this one hears of it. */
function writtenMeanwhile({ etcd }: Awaited<ReturnType<typeof scene>>): void {
  etcd.put('steps', 'p/000000', etcd.contents('steps')['p/000000']!);
}

test('a chunk that nobody owns is claimed, and written under the token of its claim from then on', async t => {
  const world = await scene();
  t.is((await world.claim()).kind, 'written');
  const token = chunkToken(world.plan.chunks[0]!.entry)!;
  t.is((await world.write(token)).kind, 'written');
  t.is((await world.write(token)).kind, 'written');
  t.is(chunkToken(world.plan.chunks[0]!.entry), token);
  t.is(world.etcd.contents('steps')['p/000000']?.owner?.node, 'node-1');
});

test('a claim is refused while the session of the owner before is there, whatever this node has heard', async t => {
  const owner = { node: 'node-2', incarnation: 'first', operation: 'o' };
  const world = await scene(owner);
  world.etcd.put('sessions', 'node-2/first', sessionRecord({ node: 'node-2' }));
  t.is((await world.claim()).kind, 'refused');
  t.deepEqual(world.etcd.contents('steps')['p/000000']?.owner, owner);
  world.etcd.delete('sessions', 'node-2/first');
  t.is((await world.claim()).kind, 'written');
});

test('a claim, and a write of the owner, are refused when the chunk was written meanwhile; then that is known', async t => {
  const world = await scene();
  writtenMeanwhile(world);
  t.is((await world.claim()).kind, 'refused');
  const token = await world.owned();
  writtenMeanwhile(world);
  t.is((await world.write(token)).kind, 'refused');
  t.is((await world.write(token)).kind, 'written');
});

test('nothing is written without the session key on its own lease', async t => {
  const world = await scene();
  const token = await world.owned();
  const name = `node-1/${world.session.incarnation}`;
  const before = world.etcd.contents('steps')['p/000000'];
  world.etcd.delete('sessions', name);
  t.is((await world.write(token)).kind, 'refused');
  world.etcd.put('sessions', name, sessionRecord());
  t.is((await world.write(token)).kind, 'refused');
  t.deepEqual(world.etcd.contents('steps')['p/000000'], before);
});

for (const [link, kind] of [
  ['replies-lost', 'written'],
  ['silent', 'refused'],
] as const) {
  test(`a write whose reply never came (${link}) is looked for, and found to be ${kind}`, async t => {
    const world = await scene();
    const token = await world.owned();
    world.store.setLink(link);
    const writing = world.write(token);
    await world.clock.advance(100);
    world.store.setLink('up');
    let outcome: string | null = null as string | null;
    void writing.then(
      ({ kind: found }) => (outcome = found),
      (error: unknown) => (outcome = String(error)),
    );
    await world.clock.advanceUntil(() => outcome !== null);
    t.is(outcome, kind);
    t.is((await world.write(token)).kind, 'written');
  });
}
