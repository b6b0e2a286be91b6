import { Crowd } from '../../src/agent/crowd.ts';
import { Ledger } from '../../src/agent/ledger.ts';
import { SessionKeeper } from '../../src/agent/session-keeper.ts';
import { World } from '../../src/agent/world.ts';
import type { AppSpec } from '../../src/model/app-spec.ts';
import type { AppRecord, EventRecord, OwnerRecord } from '../../src/model/records.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeLocalState } from '../support/fake-local-state.ts';
import { FakeLog } from '../support/fake-log.ts';
import { FakeRandom } from '../support/fake-random.ts';
import { FakeEtcd } from '../support/fake-store.ts';
import { appSpec } from '../support/nouns.ts';
import { sessionRecord } from '../support/store-worlds.ts';

/** One node's part of a cluster without any loop: its store, world, ledger and session. */
export async function member(
  parts: { etcd?: FakeEtcd; clock?: FakeClock; node?: string; state?: FakeLocalState } = {},
) {
  const clock = parts.clock ?? new FakeClock();
  const etcd = parts.etcd ?? new FakeEtcd(clock);
  const node = parts.node ?? 'node-1';
  const log = new FakeLog();
  const store = etcd.client(node, { log });
  const world = new World(store);
  const ledger = new Ledger({ node, store, clock, log });
  const random = new FakeRandom(node.charCodeAt(node.length - 1));
  const state = parts.state ?? new FakeLocalState();
  const keeper = new SessionKeeper({
    store,
    state,
    clock,
    random,
    log,
    ledger,
    bootId: 'boot-1',
    settlingMs: () => 10_000,
    record: () => sessionRecord({ node, roles: ['apps'], peer: { host: node, port: 7400 } }),
  });
  keeper.start();
  await world.ready(new AbortController().signal);
  await clock.settle();
  const heldDown = (): number => 0;
  const names = { forget: async () => undefined };
  const crowd = new Crowd({ world, clock });
  return { clock, etcd, node, log, store, world, ledger, random, state, keeper, heldDown, names, crowd };
}

export function events(etcd: FakeEtcd, kind?: string): EventRecord[] {
  return Object.entries(etcd.contents('events'))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, event]) => event)
    .filter(event => kind === undefined || event.kind === kind);
}

export function appRecord(spec: AppSpec = appSpec(), parts: Partial<AppRecord> = {}): AppRecord {
  return {
    v: 1,
    app: spec.app,
    release: 1,
    generation: 1,
    spec,
    artifact: { digest: 'sha256:1', bytes: 1, platform: null },
    restarts: {},
    secrets: {},
    removing: false,
    appliedAt: '2026-01-01T00:00:00.000Z',
    ...parts,
  };
}

export function ownerRecord(parts: Partial<OwnerRecord> = {}): OwnerRecord {
  return {
    v: 1,
    subject: 'instance/blog/web/0',
    node: 'node-1',
    incarnation: 'first',
    ttlSeconds: 10,
    holder: 'agent',
    operation: 'first',
    mayStillRun: [],
    released: null,
    token: null,
    ...parts,
  };
}
