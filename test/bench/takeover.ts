/**
 * How long until what a lost node ran is at work elsewhere: {redundant by evidence, redundant by lease, exclusive} × {nothing else
 * wrong, etcd's leader lost at the start, etcd's leader lost just before the lease ends}. One crash gives one sample of each kind.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { marginMs } from '../../src/model/deadline.ts';
import type { TestNode } from '../support/cluster.ts';
import { until } from '../support/until.ts';
import { monotonicMs } from '../faults/monotonic.ts';
import { TARGET, TTL_MS, TTL_SECONDS, World } from '../faults/world.ts';

const KINDS = ['redundant by evidence', 'redundant by lease', 'exclusive'] as const;
const COLUMNS = ['clean', 'etcd leader lost at the start', 'etcd leader lost just before expiry'] as const;
type Kind = (typeof KINDS)[number];
type Column = (typeof COLUMNS)[number];

export interface Takeovers {
  kind: Kind;
  column: Column;
  samplesMs: number[];
  boundMs: number;
}

/** Until a silent agent is unreachable (design 16: within 3 s). */
const EVIDENCE_MS = 3000;
/** etcd looks for leases that have ended twice a second. */
const EXPIRY_TICK_MS = 500;
/** What the product allows for an etcd election (rule 7): detection, votes, and its clients finding the new leader. */
const ELECTION_MS = 3000;
/** Others leave the node this long to come back; then, and after every hold-down, a stagger for each that ranks before. */
const COMES_BACK_MS = 1000;
const STAGGER_MS = 400;
const COMMIT_MS = 300;
const WAITED_MS = 5 * TTL_MS;
const PLACED_WITHIN_MS = 120_000;
const COPIES = 3;

/** `startMs`: how long a process takes from its spawn to its first sign of life. */
export function boundMs(kind: Kind, column: Column, startMs: number): number {
  const after = STAGGER_MS + COMMIT_MS + startMs;
  const election = column === 'clean' ? 0 : ELECTION_MS;
  if (kind === 'redundant by evidence') {
    return EVIDENCE_MS + (column === 'etcd leader lost at the start' ? election : 0) + after;
  }
  // A new leader gives every lease its whole TTL anew.
  const expiry =
    (column === 'etcd leader lost just before expiry' ? 2 : 1) * TTL_MS + election + EXPIRY_TICK_MS;
  return expiry + (kind === 'exclusive' ? TTL_MS : COMES_BACK_MS) + after;
}

export async function takeovers(
  count: number,
  startMs: number,
  say: (line: string) => void,
): Promise<Takeovers[]> {
  const world = await World.start();
  try {
    await world.cluster.apply('spare', {
      source: { path: join(import.meta.dirname, '../faults/app') },
      run: { 'stop-timeout': 1, workers: { ticker: 'exec node writer.cjs' } },
      scale: { ticker: COPIES },
      env: { WITNESS: world.witness, RESOURCE: world.resource.url },
      healthcheck: undefined,
    });
    const rows: Takeovers[] = [];
    for (const column of COLUMNS) {
      const samples: Record<Kind, number[]> = {
        'redundant by evidence': [],
        'redundant by lease': [],
        exclusive: [],
      };
      for (let turn = 0; turn < count; turn++) {
        const took = await lose(world, column);
        for (const kind of KINDS) samples[kind].push(took[kind]);
        say(`takeover, ${column}: ${KINDS.map(kind => Math.round(took[kind])).join(', ')} ms`);
      }
      for (const kind of KINDS) {
        rows.push({ kind, column, samplesMs: samples[kind], boundMs: boundMs(kind, column, startMs) });
      }
    }
    return rows;
  } finally {
    await world.stop();
  }
}

/** p50, p99 and the longest, and what theory allows at most beside them. */
export function takeoverTable(rows: Takeovers[]): string {
  const lines = rows.map(({ kind, column, samplesMs, boundMs: bound }) => {
    const sorted = samplesMs.toSorted((a, b) => a - b);
    const at = (share: number): number => sorted[Math.ceil(share * sorted.length) - 1]!;
    const cells = [sorted.length, at(0.5), at(0.99), at(1), bound].map(number =>
      String(Math.round(number)).padStart(8),
    );
    return `${kind.padEnd(22)} ${column.padEnd(36)} ${cells.join(' ')}`;
  });
  const head = ['n', 'p50', 'p99', 'max', 'bound'].map(cell => cell.padStart(8)).join(' ');
  const title = `takeover, ms from the crash to the first sign elsewhere (lease TTL ${TTL_SECONDS} s, margin ${marginMs(TTL_SECONDS) / 1000} s)`;
  return [title, `${''.padEnd(59)} ${head}`, ...lines].join('\n');
}

/** A node dies with all that it runs; resolves when it is back and all is well. */
async function lose(world: World, column: Column): Promise<Record<Kind, number>> {
  await world.healed();
  const node = await nodeWithAll(world);
  const spare = await owned(world, 'spare', node);
  const shop = await owned(world, 'shop', node);
  world.forgetSigns();
  const leader = await world.leader();
  const lease = await leaseOf(world, node);
  const beganMs = monotonicMs();
  await node.crash();
  if (column === 'etcd leader lost at the start') await leader.kill();
  const [evidence, byLease, exclusive] = await Promise.all([
    answersElsewhere(world, shop, node),
    worksElsewhere(world, spare, node),
    worksElsewhere(world, TARGET, node),
    column === 'etcd leader lost just before expiry'
      ? lastSecond(world, lease).then(() => leader.kill())
      : Promise.resolve(),
  ]);
  if (column !== 'clean') {
    await leader.start();
    await leader.healthy();
  }
  await node.start();
  await node.ready();
  return {
    'redundant by evidence': evidence - beganMs,
    'redundant by lease': byLease - beganMs,
    exclusive: exclusive - beganMs,
  };
}

/** The owner of the exclusive one, once it has one of each; what is redundant is placed anew until it has. */
async function nodeWithAll(world: World): Promise<TestNode> {
  const node = await world.ownerOf(TARGET);
  for (const [app, type] of [
    ['shop', 'web'],
    ['spare', 'ticker'],
  ] as const) {
    await until(
      `${node.name} has one of ${app}`,
      async () => {
        if ((await world.instances(app)).some(each => each.node === node.name)) return true;
        await world.nodes[0]!.api.scale(app, { [type]: 0 });
        await until(`${app} is gone`, async () => (await world.instances(app)).length === 0);
        await world.nodes[0]!.api.scale(app, { [type]: COPIES });
        await world.cluster.ready(app, COPIES);
        return false;
      },
      PLACED_WITHIN_MS,
    );
  }
  await world.healed();
  return world.ownerOf(TARGET);
}

async function owned(world: World, app: string, node: TestNode): Promise<string> {
  const found = (await world.instances(app)).find(each => each.node === node.name);
  if (!found) throw new Error(`${node.name} has nothing of ${app}`);
  return found.instance;
}

/** Its id as etcdctl writes it. */
async function leaseOf(world: World, node: TestNode): Promise<string> {
  const { entries } = await world.watcher.store.list('sessions', { prefix: `${node.name}/` });
  const lease = entries[0]?.lease ?? null;
  if (lease === null) throw new Error(`${node.name} has no session`);
  return BigInt(lease).toString(16);
}

/** Resolves when less than a second of the lease is left. */
async function lastSecond(world: World, lease: string): Promise<void> {
  await until(
    'the lease is about to end',
    async () => {
      const text = await world.etcd.ctl('lease', 'timetolive', lease, '--write-out=json');
      return (JSON.parse(text) as { ttl: number }).ttl <= 0;
    },
    2 * TTL_MS,
  );
}

async function worksElsewhere(world: World, instance: string, node: TestNode): Promise<number> {
  const span = await until(
    `${instance} works elsewhere`,
    async () => {
      await sleep(20);
      return world.spans().find(each => each.instance === instance && each.node !== node.name);
    },
    WAITED_MS,
  );
  return span.firstMs;
}

async function answersElsewhere(world: World, instance: string, node: TestNode): Promise<number> {
  const asked = world.others(node)[0]!;
  return until(
    `${instance} answers elsewhere`,
    async () => {
      const found = (await world.instances('shop', asked)).find(each => each.instance === instance);
      if (!found?.ready || found.node === node.name || !found.endpoint) return null;
      const { host, port } = found.endpoint;
      const answered = await fetch(`http://${host}:${port}/`, { signal: AbortSignal.timeout(1000) }).then(
        response => response.ok,
        () => false,
      );
      return answered ? monotonicMs() : null;
    },
    WAITED_MS,
  );
}
