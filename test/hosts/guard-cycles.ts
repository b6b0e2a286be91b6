import assert from 'node:assert/strict';
import { cp, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { build } from 'esbuild';
import { systemClock } from '../../src/platform/clock.ts';
import { systemRandom } from '../../src/platform/random.ts';
import { openStore } from '../../src/store/open-store.ts';
import { allCycles, type GuardRow } from '../faults/guard-cycles.ts';
import { monotonicMs } from '../faults/monotonic.ts';
import { signsOf, spansOf, type Span } from '../faults/spans.ts';
import { Watcher, type SessionEnd } from '../faults/watcher.ts';
import { FakeLog } from '../support/fake-log.ts';
import { until } from '../support/until.ts';
import { failings, type Failing } from './failings.ts';
import {
  CLUSTER,
  etcdEndpoints,
  isReady,
  TAKEN_WITHIN_MS,
  TTL_MS,
  type Fleet,
  type Form,
  type Node,
} from './fleet.ts';
import { judged } from './judge.ts';
import { settled } from './shop.ts';

const APP = 'single';
const SOURCE = '/srv/single';
const WITNESS = `/var/lib/hop3-agent/apps/${APP}/data/witness`;
/** When a key that was renewed just before is gone, and its process with it. */
const LEASE_OVER_MS = 1.5 * TTL_MS;

export async function guardCycles(fleet: Fleet, { quick, cycles }: Form): Promise<string> {
  const { nodes } = fleet;
  await settled(nodes);
  await prepare(nodes);
  // Each asks one member only: one that is cut off learns late that a session has ended.
  const watchers = etcdEndpoints(fleet).map(endpoint => watcherAt(fleet, endpoint));
  const rows: GuardRow[] = [];
  try {
    await Promise.all(watchers.map(watcher => watcher.start()));
    for (const [what, failing] of Object.entries(failings)) {
      if (quick && !failing.quick) continue;
      const tried: GuardRow[] = [];
      for (let cycle = 0; cycle < cycles; cycle++) {
        tried.push(await guardCycle(nodes, () => firstSeen(watchers), what, failing));
        await settled(nodes);
      }
      const row = allCycles(tried);
      rows.push(row);
      process.stdout.write(`     ${inWords(row)}\n`);
    }
  } finally {
    await Promise.all(watchers.map(watcher => watcher.close()));
    // The last of the faults may have left etcd without a leader for a moment.
    const remove = ['hop3-agent', 'remove', APP, '--yes'];
    await until('the app is removed', async () => (await nodes[0].host.run(remove)).code === 0);
  }
  const trouble = rows.flatMap(row => row.trouble.map(each => `${row.what}: ${each}`));
  assert.deepEqual(trouble, []);
  return inWords({ ...allCycles(rows), what: 'in all' });
}

function inWords(row: GuardRow): string {
  const rounded = (ms: number | null): string => (ms === null ? '-' : String(Math.round(ms)));
  return (
    `${row.what}: ${row.cycles} cycles, ${row.handovers} handovers, ${row.cycles - row.handovers} went on, ` +
    `${row.overlaps} overlaps, smallest gap ${rounded(row.smallestGapMs)} ms, ` +
    `dead ${rounded(row.leastBeforeKeyMs)} ms or more before the key was gone, ` +
    `longest takeover ${rounded(row.longestTakeoverMs)} ms`
  );
}

function watcherAt({ outside }: Fleet, endpoint: string): Watcher {
  return new Watcher(
    openStore({
      endpoints: [endpoint],
      tls: outside,
      cluster: CLUSTER,
      clock: systemClock(),
      log: new FakeLog(),
      random: systemRandom(),
    }),
  );
}

/** When each session was first seen to have ended, by whoever saw it first. */
function firstSeen(watchers: Watcher[]): SessionEnd[] {
  const ends = new Map<string, SessionEnd>();
  for (const end of watchers.flatMap(watcher => watcher.ends)) {
    const known = ends.get(end.incarnation);
    if (known === undefined || end.atMs < known.atMs) ends.set(end.incarnation, end);
  }
  return [...ends.values()];
}

async function prepare(nodes: Fleet['nodes']): Promise<void> {
  const root = join(import.meta.dirname, '../..');
  for (const { host } of nodes) {
    await build({
      entryPoints: [join(import.meta.dirname, 'wedge.ts')],
      outfile: join(host.root, 'srv/wedge.mjs'),
      ...({ bundle: true, platform: 'node', target: 'node20', format: 'esm' } as const),
    });
  }
  const [{ host }] = nodes;
  await mkdir(join(host.root, SOURCE), { recursive: true });
  await cp(join(root, 'test/faults/app/writer.cjs'), join(host.root, SOURCE, 'writer.cjs'));
  const manifest = {
    metadata: { id: APP },
    source: { path: SOURCE },
    run: { 'stop-timeout': 1, workers: { careless: 'exec node writer.cjs' } },
    exclusive: ['careless'],
    // Nobody listens there: what it writes is judged by its signs of life.
    env: { WITNESS, RESOURCE: 'http://127.0.0.1:9' },
  };
  await host.write('/srv/single.yaml', JSON.stringify(manifest));
  await host.must(['hop3-agent', 'apply', '/srv/single.yaml', '--wait']);
}

/** What the process has said on all hosts, by the clock that they share. */
async function spans(nodes: Node[], sinceMs: number): Promise<Span[]> {
  const texts = await Promise.all(
    nodes.map(({ host }) => readFile(join(host.root, WITNESS), 'latin1').catch(() => '')),
  );
  return spansOf(signsOf(texts.join('')).filter(({ atMs }) => atMs > sinceMs));
}

/** One cycle: the agent of the owner fails, and another host takes what it had, or the next agent finds it at work. */
async function guardCycle(
  nodes: Fleet['nodes'],
  ends: () => SessionEnd[],
  what: string,
  { begin, mayGoOn }: Failing,
): Promise<GuardRow> {
  const owner = await until('it is at work', async () => {
    const working = await spans(nodes, monotonicMs() - 1000);
    return nodes.find(({ host }) => host.name === working.at(-1)?.node);
  });
  const { name: host } = owner.host;
  const sinceMs = monotonicMs();
  const heal = await begin(owner);
  const trouble: string[] = [];
  const decided = async (): Promise<boolean> => {
    const seen = await spans(nodes, sinceMs);
    if (seen.some(({ node }) => node !== host)) return true;
    return mayGoOn && monotonicMs() - sinceMs > LEASE_OVER_MS && seen.some(atWork);
  };
  await until(`it is known what became of what ${host} had`, decided, TAKEN_WITHIN_MS).catch(
    (error: unknown) => {
      trouble.push((error as Error).message);
    },
  );
  // So that what would come too late is seen.
  await sleep(1000);
  await heal();
  await isReady(owner, 90_000);
  return judged({
    ...{ what, host, sinceMs, mayGoOn, trouble },
    spans: await spans(nodes, sinceMs - 1000),
    ends: ends(),
  });
}

function atWork({ lastMs }: Span): boolean {
  return monotonicMs() - lastMs < 1000;
}
