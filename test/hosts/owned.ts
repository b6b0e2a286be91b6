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
import { handovers, signsOf, spansOf, tokenTrouble, type Span } from '../faults/spans.ts';
import { Watcher } from '../faults/watcher.ts';
import { FakeLog } from '../support/fake-log.ts';
import { until } from '../support/until.ts';
import { cuts } from './cuts.ts';
import { agentPid, CLUSTER, etcdEndpoints, isReady, type Fleet, type Node } from './fleet.ts';
import { settled } from './shop.ts';

const APP = 'single';
const SOURCE = '/srv/single';
const WITNESS = `/var/lib/hop3-agent/apps/${APP}/data/witness`;
const UNIT = 'hop3-agent';
/** The default of the installed agents. */
const TTL_MS = 10_000;
/** Two leases, and what a loaded machine adds. */
const TAKEN_WITHIN_MS = 4 * TTL_MS;
const CYCLES = 5;

/** How an agent can fail to stop what it must stop. Resolves once that is in force; what it gives ends it. */
type Failing = (node: Node) => Promise<() => Promise<void>>;

const failings: Record<string, Failing> = {
  'agent wedged in its event loop': async node => {
    const wedging = node.host.run([
      'node',
      '/srv/wedge.mjs',
      String(await agentPid(node)),
      String(3 * TTL_MS),
    ]);
    let early: string | null = null;
    void wedging.then(({ code, stderr }) => (early = `it could not be wedged (${String(code)}): ${stderr}`));
    const silent = async (): Promise<boolean> => {
      if (early !== null) throw new Error(early);
      return node.api.ready(AbortSignal.timeout(2000)).then(
        () => false,
        () => true,
      );
    };
    await until('the agent is wedged', silent);
    return async () => {
      await wedging;
    };
  },
  'agent in a crash loop, cut from etcd': async ({ host }) => {
    await host.filter(cuts.etcd);
    const stop = new AbortController();
    const looping = (async () => {
      while (!stop.signal.aborted) {
        const before = await dropped(host);
        // It crashes when it has asked etcd in vain, however long this machine takes to start it.
        await until('the agent asks etcd', async () => (await dropped(host)) > before, 30_000);
        await host.run(['systemctl', 'kill', '--kill-whom=main', '-s', 'KILL', UNIT]);
      }
    })();
    // Whoever ends it is told; until then nobody waits for it.
    looping.catch(() => undefined);
    return async () => {
      stop.abort();
      await looping.finally(() => host.filter(null));
    };
  },
  'agent frozen (SIGSTOP)': async ({ host }) => {
    await host.must(['systemctl', 'kill', '--kill-whom=main', '-s', 'STOP', UNIT]);
    // Its watchdog may have replaced it by then.
    return async () => {
      await host.run(['systemctl', 'kill', '--kill-whom=main', '-s', 'CONT', UNIT]);
    };
  },
  'agent killed (SIGKILL), and not started again': async ({ host }) => {
    const settings = '/run/systemd/system/hop3-agent.service.d';
    await host.must(['mkdir', '-p', settings]);
    await host.must(['sh', '-c', `printf '[Service]\\nRestart=no\\n' > ${settings}/no-restart.conf`]);
    await host.must(['systemctl', 'daemon-reload']);
    await host.must(['systemctl', 'kill', '--kill-whom=main', '-s', 'KILL', UNIT]);
    return async () => {
      await host.must(['rm', '-r', settings]);
      await host.must(['systemctl', 'daemon-reload']);
      await host.must(['systemctl', 'start', UNIT]);
    };
  },
};
const inShortForm = ['agent wedged in its event loop', 'agent in a crash loop, cut from etcd'];

async function dropped(host: Node['host']): Promise<number> {
  const chains = await host.filtered();
  return [...chains.values()].reduce((sum, packets) => sum + packets, 0);
}

export async function guardCycles(fleet: Fleet, quick: boolean): Promise<string> {
  const { nodes } = fleet;
  await settled(nodes);
  await prepare(nodes);
  const watcher = new Watcher(
    openStore({
      endpoints: etcdEndpoints(fleet),
      tls: fleet.outside,
      cluster: CLUSTER,
      clock: systemClock(),
      log: new FakeLog(),
      random: systemRandom(),
    }),
  );
  const rows: GuardRow[] = [];
  try {
    await watcher.start();
    for (const [what, failing] of Object.entries(failings)) {
      if (quick && !inShortForm.includes(what)) continue;
      const cycles: GuardRow[] = [];
      for (let cycle = 0; cycle < (quick ? 1 : CYCLES); cycle++) {
        cycles.push(await guardCycle(nodes, watcher, what, failing));
        await settled(nodes);
      }
      const row = allCycles(cycles);
      rows.push(row);
      process.stdout.write(`     ${inWords(row)}\n`);
    }
  } finally {
    await watcher.close();
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
    `${row.what}: ${row.cycles} cycles, ${row.handovers} handovers, ${row.overlaps} overlaps, smallest gap ` +
    `${rounded(row.smallestGapMs)} ms, dead ${rounded(row.leastBeforeKeyMs)} ms or more before the key was gone, ` +
    `longest takeover ${rounded(row.longestTakeoverMs)} ms`
  );
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

/** One cycle: the agent of the owner fails, and another host takes what it had. */
async function guardCycle(
  nodes: Fleet['nodes'],
  watcher: Watcher,
  what: string,
  failing: Failing,
): Promise<GuardRow> {
  const owner = await until('it is at work', async () => {
    const working = await spans(nodes, monotonicMs() - 1000);
    return nodes.find(({ host }) => host.name === working.at(-1)?.node);
  });
  const { name } = owner.host;
  const beganMs = monotonicMs();
  const heal = await failing(owner);
  const trouble: string[] = [];
  const taken = async (): Promise<boolean> => (await spans(nodes, beganMs)).some(({ node }) => node !== name);
  await until(`another host runs what ${name} had`, taken, TAKEN_WITHIN_MS).catch((error: unknown) => {
    trouble.push((error as Error).message);
  });
  // So that what would come too late is seen.
  await sleep(1000);
  await heal();
  await isReady(owner, 90_000);
  const all = await spans(nodes, beganMs - 1000);
  const { overlaps, smallestGapMs } = handovers(all);
  const next = all.find(({ node }) => node !== name);
  const last = all.filter(({ node, firstMs }) => node === name && firstMs < (next?.firstMs ?? 0)).at(-1);
  const end = watcher.ends.find(({ node, atMs }) => node === name && atMs > beganMs);
  const leastBeforeKeyMs = last && end ? end.atMs - last.lastMs : null;
  if (leastBeforeKeyMs === null) trouble.push('nobody saw its session key go');
  else if (leastBeforeKeyMs <= 0) trouble.push('it outlived the session key of its node');
  return {
    what,
    cycles: 1,
    handovers: next && last ? 1 : 0,
    overlaps: overlaps.length,
    smallestGapMs,
    leastBeforeKeyMs,
    longestTakeoverMs: next ? next.firstMs - beganMs : null,
    trouble: [...trouble, ...overlaps, ...tokenTrouble(all)],
  };
}

/** Signs of life like a writer's, under a name. */
const SIGNS = `
  const { appendFileSync } = require('fs');
  const now = () => (Number(process.hrtime.bigint()) / 1e6).toFixed(3);
  const born = now();
  const say = () => appendFileSync('/var/tmp/owned', [now(), 'job', process.env.HOP3_FENCING_TOKEN, process.argv[1], born].join(' ') + '\\n');
  say(); setInterval(say, 10);
`;

export async function ownCommand({ nodes }: Fleet): Promise<string> {
  const [first, second] = nodes;
  await settled(nodes);
  const short = ['hop3-agent', 'own', 'report', '--stop-timeout', '1', '--', 'sh', '-c'];
  const looks = 'echo $HOP3_FENCING_TOKEN; cat $HOP3_FENCING_TOKEN_FILE; echo; cat /proc/self/cgroup; exit 7';
  const ran = await first.host.run([...short, looks]);
  assert.equal(ran.code, 7, ran.stderr);
  const [token, inFile, ...groups] = ran.stdout.trim().split('\n');
  assert.match(token ?? '', /^\d+$/);
  assert.equal(inFile, token);
  assert.ok(
    groups.some(line => /hop3-agent\.service/.test(line)),
    groups.join('\n'),
  );
  const again = await second.host.run([...short, 'echo $HOP3_FENCING_TOKEN; kill -9 $$']);
  assert.equal(again.code, 128 + 9, again.stderr);
  assert.ok(BigInt(again.stdout.trim()) > BigInt(token!), 'tokens grow, over hosts');

  const job = (node: Node, more: string[]): Promise<{ code: number | null; stderr: string }> =>
    node.host.run(
      ['hop3-agent', 'own', 'job', '--stop-timeout', '1', ...more, '--', 'node', '-e', SIGNS, node.host.name],
      { timeoutMs: 180_000 },
    );
  const signs = async (): Promise<Span[]> => {
    const texts = [first, second].map(({ host }) =>
      readFile(join(host.root, 'var/tmp/owned'), 'latin1').catch(() => ''),
    );
    return spansOf(signsOf((await Promise.all(texts)).join('')));
  };
  const losing = job(first, []);
  await until('it is at work', async () => (await signs()).length === 1);
  const waiting = job(second, ['--wait']);
  await until('the other stands in line', async () => {
    const { items } = await second.api.agents(AbortSignal.timeout(5000));
    return items.find(({ name }) => name === 'job')?.waiters.some(({ node }) => node === second.host.name);
  });
  await first.host.filter(cuts.etcd);
  const cutMs = monotonicMs();
  try {
    await until('the other is at work', async () => (await signs()).length === 2, TAKEN_WITHIN_MS);
  } finally {
    await first.host.filter(null);
  }
  const lost = await losing;
  assert.ok(
    lost.code !== 0 && lost.code !== null,
    `the command that was stopped ended with ${String(lost.code)}`,
  );
  await second.host.must(['hop3-agent', 'release', 'job']);
  const released = await waiting;
  const found = await signs();
  const { overlaps, smallestGapMs } = handovers(found);
  assert.deepEqual([...overlaps, ...tokenTrouble(found)], []);
  const stoppedMs = found[0]!.lastMs - cutMs;
  assert.ok(stoppedMs < TTL_MS, `it ran on for ${Math.round(stoppedMs)} ms`);
  await isReady(first);
  return (
    `stopped ${Math.round(stoppedMs)} ms after the cut (exit ${String(lost.code)}), the next at work ` +
    `${Math.round(smallestGapMs ?? 0)} ms later (released: exit ${String(released.code)})`
  );
}
