import test from 'ava';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Pool } from '../../src/model/traffic.ts';
import { plan } from '../../src/proxy/plan.ts';
import {
  emptyState,
  endpointText,
  grown,
  performed,
  type Command,
  type ProxyState,
  type SlotState,
} from '../../src/proxy/state.ts';

type Servers = Record<number, 'ready' | 'drain'>;

/** An app with its instances by port; its host name is its own unless others are given. */
function pool(app: string, servers: Servers, hostnames = [`${app}.test`]): Pool {
  return {
    app,
    hostnames,
    checkPath: null,
    servers: Object.entries(servers).map(([port, state]) => ({
      instance: `${app}/web/${port}`,
      endpoint: { host: '127.0.0.1', port: Number(port) },
      state,
    })),
  };
}

function commandsFor(pools: Pool[], state: ProxyState): Command[] {
  const next = plan(pools, state);
  if (next.kind === 'grow') throw new Error(`grow to ${next.backends} × ${next.slots}: ${next.reason}`);
  return next.commands;
}

function after(pools: Pool[], state: ProxyState): ProxyState {
  return commandsFor(pools, state).reduce(performed, state);
}

function words(command: Command): string {
  switch (command.kind) {
    case 'inform':
      return 'inform';
    case 'claim':
      return `claim ${command.backend} for ${command.app}`;
    case 'free':
      return `free ${command.backend}`;
    case 'evict':
      return `evict ${command.backend}/${command.slot}`;
    case 'address':
      return `${command.backend}/${command.slot} is at ${command.endpoint.port}`;
    case 'state':
      return `${command.backend}/${command.slot} ${command.state}`;
    case 'route':
      return `${command.isNew ? 'add' : 'set'} ${command.host} → ${command.backend}`;
    case 'unroute':
      return `drop ${command.host}`;
  }
}

function withBusy(state: ProxyState, ...busy: string[]): ProxyState {
  return {
    ...state,
    backends: state.backends.map(backend => ({
      ...backend,
      slots: backend.slots.map(slot => ({ ...slot, busy: busy.includes(`${backend.name}/${slot.name}`) })),
    })),
  };
}

const empty = after([], emptyState(2, 3));
const blog = after([pool('blog', { 4001: 'ready', 4002: 'ready' })], empty);

const rows: Record<string, { before: ProxyState; pools: Pool[]; commands: string[] }> = {
  'the first round informs the proxy, even of nothing': {
    before: emptyState(1, 1),
    pools: [],
    commands: ['inform'],
  },
  'a new app gets a backend, its instances slots, and only then its host name': {
    before: empty,
    pools: [pool('blog', { 4001: 'ready' })],
    commands: ['claim b1 for blog', 'b1/s1 is at 4001', 'b1/s1 ready', 'add blog.test → b1'],
  },
  'a replaced instance: the new one is ready before the old one drains': {
    before: blog,
    pools: [pool('blog', { 4001: 'drain', 4002: 'ready', 4003: 'ready' })],
    commands: ['b1/s3 is at 4003', 'b1/s3 ready', 'b1/s1 drain'],
  },
  'an instance that is gone is taken out after its successor is in': {
    before: blog,
    pools: [pool('blog', { 4002: 'ready', 4003: 'ready' })],
    commands: ['b1/s3 is at 4003', 'b1/s3 ready', 'b1/s1 maint'],
  },
  'a drained instance that is ready again needs no new slot': {
    before: after([pool('blog', { 4001: 'drain', 4002: 'ready' })], blog),
    pools: [pool('blog', { 4001: 'ready', 4002: 'ready' })],
    commands: ['b1/s1 ready'],
  },
  'an instance that comes back to its address gets its slot again': {
    before: withBusy(after([pool('blog', { 4002: 'ready' })], blog), 'b1/s1'),
    pools: [pool('blog', { 4001: 'ready', 4002: 'ready' })],
    commands: ['b1/s1 ready'],
  },
  'a slot with requests left is passed over while others are free': {
    before: withBusy(after([pool('blog', { 4002: 'ready' })], blog), 'b1/s1'),
    pools: [pool('blog', { 4002: 'ready', 4009: 'ready' })],
    commands: ['b1/s3 is at 4009', 'b1/s3 ready'],
  },
  'when all free slots have requests left, one is emptied': {
    before: withBusy(after([pool('blog', { 4002: 'ready' })], blog), 'b1/s1', 'b1/s3'),
    pools: [pool('blog', { 4002: 'ready', 4009: 'ready' })],
    commands: ['evict b1/s1', 'b1/s1 is at 4009', 'b1/s1 ready'],
  },
  'an instance that was never in is not added only to drain': {
    before: blog,
    pools: [pool('blog', { 4001: 'ready', 4002: 'ready', 4003: 'drain' })],
    commands: [],
  },
  'a removed app loses its host name first, then its instances, then its backend': {
    before: blog,
    pools: [],
    commands: ['drop blog.test', 'b1/s1 maint', 'b1/s2 maint', 'free b1'],
  },
  'an app that loses its host names loses its backend': {
    before: blog,
    pools: [pool('blog', { 4001: 'ready', 4002: 'ready' }, [])],
    commands: ['drop blog.test', 'b1/s1 maint', 'b1/s2 maint', 'free b1'],
  },
  'a host name that moves is changed in place': {
    before: blog,
    pools: [
      pool('blog', { 4001: 'ready', 4002: 'ready' }, ['other.test']),
      pool('shop', { 4005: 'ready' }, ['blog.test']),
    ],
    commands: [
      'claim b2 for shop',
      'b2/s1 is at 4005',
      'b2/s1 ready',
      'add other.test → b1',
      'set blog.test → b2',
    ],
  },
  'of two apps that claim a host name, the one that has it keeps it': {
    before: blog,
    pools: [pool('aaa', { 4005: 'ready' }, ['blog.test']), pool('blog', { 4001: 'ready', 4002: 'ready' })],
    commands: ['claim b2 for aaa', 'b2/s1 is at 4005', 'b2/s1 ready'],
  },
  'a backend whose last requests are still running is taken last': {
    before: withBusy(after([], blog), 'b1/s1'),
    pools: [pool('shop', { 4005: 'ready' })],
    commands: ['claim b2 for shop', 'b2/s1 is at 4005', 'b2/s1 ready', 'add shop.test → b2'],
  },
};
for (const [title, { before, pools, commands }] of Object.entries(rows)) {
  test(title, t => {
    const got = commandsFor(pools, before);
    t.deepEqual(got.map(words), commands);
    t.true(got.every(command => command.reason.length > 0));
  });
}

test('too many apps or instances for what is prepared ask for enough of it', t => {
  const apps = ['a', 'b', 'c'].map((app, index) => pool(app, { [4001 + index]: 'ready' }));
  t.like(plan(apps, empty), { kind: 'grow', backends: 5, slots: 3 });
  const instances = Object.fromEntries([1, 2, 3, 4].map(port => [4000 + port, 'ready' as const]));
  t.like(plan([pool('a', instances)], empty), { kind: 'grow', backends: 2, slots: 8 });
});

const serversArbitrary = fc.dictionary(
  fc.integer({ min: 4001, max: 4012 }).map(String),
  fc.constantFrom('ready' as const, 'drain' as const),
  { maxKeys: 6 },
);
const poolArbitrary = fc
  .record({
    app: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
    servers: serversArbitrary,
    hostnames: fc.uniqueArray(fc.constantFrom('x.test', 'Y.test', '*.z.test', '_', 'own'), { maxLength: 3 }),
  })
  .map(({ app, servers, hostnames }) =>
    pool(
      app,
      // No two apps share an address, so that a foreign instance is seen.
      Object.fromEntries(
        Object.entries(servers).map(([port, state]) => [Number(port) + 100 * app.charCodeAt(0), state]),
      ),
      hostnames.map(host => (host === 'own' ? `${app}.test` : host)),
    ),
  );
const poolsArbitrary = fc.uniqueArray(poolArbitrary, { selector: one => one.app, maxLength: 5 });
/** Rounds one after another, each with the slots that still have requests when it begins. */
const roundsArbitrary = fc.array(
  fc.record({
    pools: poolsArbitrary,
    busy: fc.array(fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 4 })), {
      maxLength: 6,
    }),
    /** How many of the commands get through before the agent dies; null = all. */
    cutAfter: fc.option(fc.nat({ max: 12 }), { freq: 4 }),
  }),
  { minLength: 1, maxLength: 6 },
);

/** Plays the rounds and calls back with the state before and the commands of each. */
function play(
  rounds: { pools: Pool[]; busy: [number, number][]; cutAfter: number | null }[],
  look: (before: ProxyState, commands: Command[], pools: Pool[]) => void,
): void {
  let state = emptyState(2, 2);
  for (const round of rounds) {
    state = withBusy(state, ...round.busy.map(([backend, slot]) => `b${backend}/s${slot}`));
    let next = plan(round.pools, state);
    while (next.kind === 'grow') {
      const bigger = grown(state, next.backends, next.slots);
      if (bigger.backends.length * bigger.backends[0]!.slots.length > 10_000)
        throw new Error('grows without end');
      state = bigger;
      next = plan(round.pools, state);
    }
    const { commands } = next;
    look(state, commands, round.pools);
    state = commands.slice(0, round.cutAfter ?? undefined).reduce(performed, state);
  }
}

function inState(state: ProxyState, app: string, wanted: SlotState): string[] {
  return state.backends
    .filter(backend => backend.app === app)
    .flatMap(backend => backend.slots)
    .filter(slot => slot.state === wanted)
    .map(slot => endpointText(slot.endpoint))
    .sort();
}

test('it always arrives at what the pools say, and then asks for nothing', t => {
  t.notThrows(() =>
    fc.assert(
      fc.property(roundsArbitrary, rounds => {
        play(rounds, (before, commands, pools) => {
          const reached = commands.reduce(performed, before);
          for (const { app, servers, hostnames } of pools) {
            const ready = servers
              .filter(server => server.state === 'ready')
              .map(one => endpointText(one.endpoint));
            assert.deepEqual(inState(reached, app, 'ready'), hostnames.length > 0 ? ready.sort() : []);
          }
          const routed = pools.flatMap(one => one.hostnames.map(host => host.toLowerCase()));
          assert.deepEqual(new Set(reached.routes.keys()), new Set(routed));
          assert.deepEqual(commandsFor(pools, reached), []);
          assert.deepEqual(commandsFor([...pools].reverse(), reached), []);
        });
      }),
    ),
  );
});

test('never, between any two commands, does a host name lead to another app or an app’s backend hold a foreign instance', t => {
  t.notThrows(() =>
    fc.assert(
      fc.property(roundsArbitrary, rounds => {
        let previous: Pool[] = [];
        play(rounds, (before, commands, pools) => {
          const known = [...previous, ...pools];
          let state = before;
          for (const command of commands) {
            state = performed(state, command);
            for (const backend of state.backends) {
              const own = known
                .filter(one => one.app === backend.app)
                .flatMap(one => one.servers.map(server => endpointText(server.endpoint)));
              const used = backend.slots.filter(slot => slot.state !== 'maint');
              assert.ok(
                backend.app !== null ? used.every(slot => own.includes(endpointText(slot.endpoint))) : true,
                `${words(command)} leaves a foreign instance in ${backend.name}`,
              );
            }
            for (const [host, name] of state.routes) {
              const app = state.backends.find(backend => backend.name === name)?.app;
              const claimants = known.filter(one => one.hostnames.some(own => own.toLowerCase() === host));
              assert.ok(
                claimants.some(one => one.app === app),
                `${words(command)} makes ${host} lead to ${String(app)}`,
              );
            }
          }
          previous = known;
        });
      }),
    ),
  );
});

test('never, between any two commands, has an app no ready instance that had one before and has one after', t => {
  t.notThrows(() =>
    fc.assert(
      fc.property(roundsArbitrary, rounds => {
        play(rounds, (before, commands, pools) => {
          for (const { app } of pools) {
            const reached = commands.reduce(performed, before);
            if (inState(before, app, 'ready').length === 0 || inState(reached, app, 'ready').length === 0)
              continue;
            let state = before;
            for (const command of commands) {
              state = performed(state, command);
              assert.ok(inState(state, app, 'ready').length > 0, `${words(command)} leaves ${app} without`);
            }
          }
        });
      }),
    ),
  );
});

test('a slot gets a new address only while it is out of use and quiet', t => {
  t.notThrows(() =>
    fc.assert(
      fc.property(roundsArbitrary, rounds => {
        play(rounds, (before, commands) => {
          let state = before;
          for (const command of commands) {
            if (command.kind === 'address') {
              const slot = state.backends
                .find(backend => backend.name === command.backend)!
                .slots.find(one => one.name === command.slot)!;
              assert.deepEqual([slot.state, slot.busy], ['maint', false]);
            }
            state = performed(state, command);
          }
        });
      }),
    ),
  );
});
