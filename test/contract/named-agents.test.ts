import test from 'ava';
import type { NameRequest } from '../../src/model/named-agents.ts';
import { AdminError } from '../../src/ports/admin.ts';
import type { NamedAgents } from '../../src/ports/named-agents.ts';
import { FakeNamedAgents } from '../support/fake-named-agents.ts';
import { SimCluster } from '../support/sim-cluster.ts';

interface World {
  names: NamedAgents;
  /** For what waits for time to pass. */
  done: <T>(work: Promise<T>) => Promise<T>;
  end: () => Promise<void>;
}

const worlds: Record<string, () => Promise<World>> = {
  fake: async () => ({ names: new FakeNamedAgents(), done: work => work, end: () => Promise.resolve() }),
  agent: async () => {
    const cluster = new SimCluster(['n1']);
    await cluster.start();
    await cluster.advance(1000);
    const { names } = cluster.node('n1').agent;
    return { names, done: work => cluster.whileTimePasses(work), end: () => cluster.stop() };
  },
};

const NAME = 'nightly-report';
const never = new AbortController().signal;
const asks = (holder: string, parts: Partial<NameRequest> = {}): NameRequest => ({
  holder,
  wait: false,
  waitSeconds: 0,
  ttlSeconds: 30,
  token: null,
  ...parts,
});

for (const [name, make] of Object.entries(worlds)) {
  test(`${name}: who has it is told so, with one token, as often as it asks`, async t => {
    const { names, done, end } = await make();
    const first = await done(names.request(NAME, asks('a'), never));
    t.like(first, { name: NAME, node: 'n1', holder: 'a', state: 'Assigned', ahead: null });
    const again = await done(names.request(NAME, asks('a', { token: first.token }), never));
    t.is(again.token, first.token);
    t.true(first.validForMs! > 0);
    t.like(names.agent(NAME), { state: 'Assigned', owner: 'n1', holder: 'a', token: first.token });
    t.deepEqual(
      names.agents().items.map(agent => agent.name),
      [NAME],
    );
    await end();
  });

  test(`${name}: another one is refused, or waits`, async t => {
    const { names, done, end } = await make();
    await done(names.request(NAME, asks('a'), never));
    const refused = await t.throwsAsync(() => done(names.request(NAME, asks('b'), never)), {
      instanceOf: AdminError,
      message: /nightly-report is held by a on n1 since 20/,
    });
    t.is(refused.kind, 'conflict');
    const waits = await done(names.request(NAME, asks('b', { wait: true }), never));
    t.like(waits, { state: 'Pending', token: null, validForMs: null });
    await end();
  });

  test(`${name}: a token that is not in force gets nothing`, async t => {
    const { names, done, end } = await make();
    const { token } = await done(names.request(NAME, asks('a'), never));
    const stale = '1';
    t.not(token, stale);
    const attempts: (() => Promise<unknown>)[] = [
      () => names.request(NAME, asks('a', { token: stale }), never),
      () => names.request('never-had', asks('a', { token: stale }), never),
      () => names.release(NAME, 'a', stale),
      () => names.putState(NAME, { holder: 'a', token: stale, state: 1 }),
      () => names.putState(NAME, { holder: 'b', token: token!, state: 1 }),
    ];
    for (const attempt of attempts) {
      const error = await t.throwsAsync(() => done(attempt()), { instanceOf: AdminError });
      t.is(error.kind, 'conflict');
    }
    t.is(names.agent(NAME).holder, 'a');
    t.is(await done(names.state(NAME)), null);
    await end();
  });

  test(`${name}: released it is free, by its holder alone, and its last state stays`, async t => {
    const { names, done, end } = await make();
    const { token } = await done(names.request(NAME, asks('a'), never));
    await done(names.putState(NAME, { holder: 'a', token: token!, state: { page: 7 } }));
    const foreign = await t.throwsAsync(() => done(names.release(NAME, 'b', null)), {
      instanceOf: AdminError,
    });
    t.is(foreign.kind, 'not-found');
    await done(names.release(NAME, 'a', token));
    t.is(names.agent(NAME).holder, null);
    t.like(await done(names.state(NAME)), { name: NAME, holder: 'a', token, state: { page: 7 } });
    const next = await done(names.request(NAME, asks('b'), never));
    t.true(BigInt(next.token!) > BigInt(token!));
    await end();
  });

  test(`${name}: what nobody has can't be called back`, async t => {
    const { names, done, end } = await make();
    const error = await t.throwsAsync(() => done(names.recall(NAME)), { instanceOf: AdminError });
    t.is(error.kind, 'conflict');
    await end();
  });
}
