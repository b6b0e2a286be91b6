import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { InstanceView } from '../../src/model/views.ts';
import { until } from '../support/until.ts';
import {
  agentPid,
  ASKED_MS,
  askProxy,
  installEverywhere,
  isReady,
  readyInstances,
  type Fleet,
  type Node,
} from './fleet.ts';
import { Traffic, type Heard } from './traffic.ts';

const APP = 'shop';
const HOSTNAME = 'shop.localhost';
const COPIES = 3;
/** Beyond every lease (10 s), so that whatever would be taken over has been. */
const LONG_MS = 30_000;
/** A host that is gone is found out by the proxies' own checks. */
const SHORT_SILENCE_MS = 10_000;
const ETCD = '{ 2379, 2380 }';
const PEERS = '{ 7400, 8080, 20000-29999 }';

/** Rules for a host's own network, in nft's words. What it says to itself is never cut. */
const cuts = {
  etcd: bothWays([`tcp dport ${ETCD} counter drop`, `tcp sport ${ETCD} counter drop`]),
  peers: bothWays([`tcp dport ${PEERS} counter drop`, `tcp sport ${PEERS} counter drop`]),
  incoming: oneWay('input', ['counter drop']),
  outgoing: oneWay('output', ['counter drop']),
  everything: bothWays(['counter drop']),
};

export interface Scenario {
  name: string;
  /** Also part of the short form. */
  quick: boolean;
  run(fleet: Fleet, quick: boolean): Promise<string>;
}

/** In this order: each begins when all is well again after the one before, and gives what it measured in words. */
export const scenarios: Scenario[] = [
  { name: 'the installer, run twice, makes a cluster of three hosts', quick: true, run: install },
  { name: 'an app deployed on one host answers through the proxy of each', quick: true, run: deploy },
  { name: 'a killed agent is started again, and nothing of the app is', quick: true, run: killAgents },
  { name: 'twenty upgrades change no process of an app', quick: true, run: upgrades },
  {
    name: 'a host cut off from etcd only loses nothing',
    quick: true,
    run: (fleet, quick) =>
      cutOff(fleet, { rules: cuts.etcd, ms: quick ? 15_000 : LONG_MS, mayMove: false, unready: true }),
  },
  {
    name: 'a host cut off from its peers only troubles no other',
    quick: false,
    run: fleet => cutOff(fleet, { rules: cuts.peers, ms: LONG_MS, mayMove: true }),
  },
  {
    name: 'a host that hears nothing troubles no other',
    quick: false,
    run: fleet => cutOff(fleet, { rules: cuts.incoming, ms: LONG_MS, mayMove: true }),
  },
  {
    name: 'a host that is not heard troubles no other',
    quick: false,
    run: fleet => cutOff(fleet, { rules: cuts.outgoing, ms: LONG_MS, mayMove: true }),
  },
  {
    name: 'of a host cut off from everybody, others take the app over',
    quick: true,
    run: (fleet, quick) =>
      cutOff(fleet, { rules: cuts.everything, ms: quick ? 20_000 : LONG_MS, mayMove: true, mustMove: true }),
  },
  { name: 'a frozen agent is replaced by its watchdog, and loses nothing', quick: false, run: freezeAgent },
  { name: 'without etcd for a minute nothing restarts', quick: false, run: stopEtcd },
  { name: 'a host that reboots comes back by itself, and troubles no other', quick: true, run: reboot },
  {
    name: 'a host whose plug is pulled is replaced, and comes back by itself',
    quick: false,
    run: pullThePlug,
  },
  { name: 'after everything was off, everything comes back without hands', quick: true, run: stopEverything },
  { name: 'a host that is taken out hands its app on, and keeps its data', quick: true, run: takeOut },
];

async function install(fleet: Fleet): Promise<string> {
  await installEverywhere(fleet);
  const before = await Promise.all(fleet.nodes.map(agentPid));
  const said = await fleet.nodes[0].host.must(['node', `${fleet.release}/install.js`]);
  assert.match(said, /is installed already/);
  assert.deepEqual(await Promise.all(fleet.nodes.map(agentPid)), before);
  const doctor = await fleet.nodes[1].host.run(['hop3-agent', 'doctor']);
  assert.equal(doctor.code, 0, doctor.stdout);
  return 'doctor finds nothing wrong';
}

async function deploy({ nodes }: Fleet): Promise<string> {
  const settings = ['--app', APP, '--host', HOSTNAME, '--scale', `web=${COPIES}`];
  const beganMs = performance.now();
  await nodes[0].host.must(['hop3-agent', 'deploy', '/srv/app', ...settings]);
  const instances = await readyInstances(nodes[0], APP, COPIES);
  assert.deepEqual(
    instances.map(({ node }) => node).sort(),
    nodes.map(({ host }) => host.name),
  );
  await answersEverywhere(nodes);
  return `one instance a host, ${seconds(performance.now() - beganMs)} after the command`;
}

async function killAgents({ nodes }: Fleet): Promise<string> {
  return steady(nodes, async () => {
    const before = await Promise.all(nodes.map(agentPid));
    for (const { host } of nodes)
      await host.must(['systemctl', 'kill', '--kill-whom=main', '-s', 'KILL', 'hop3-agent']);
    await until('other agents are there', async () => {
      const now = await Promise.all(nodes.map(agentPid));
      return now.every((pid, index) => pid !== 0 && pid !== before[index]);
    });
    await Promise.all(nodes.map(node => isReady(node)));
  });
}

async function upgrades(fleet: Fleet, quick: boolean): Promise<string> {
  const times = quick ? 3 : 20;
  const [{ host }] = fleet.nodes;
  const said = await steady(fleet.nodes, async () => {
    for (let number = 1; number <= times; number++) {
      const before = await agentPid(fleet.nodes[0]);
      await host.must(['node', `${await fleet.otherRelease(number)}/install.js`, 'upgrade']);
      assert.notEqual(await agentPid(fleet.nodes[0]), before, `upgrade ${number} started no other agent`);
      await isReady(fleet.nodes[0]);
    }
  });
  return `${times} upgrades: ${said}`;
}

interface Cut {
  rules: string;
  ms: number;
  /** Whether what ran there may be started elsewhere meanwhile, and must be. */
  mayMove: boolean;
  mustMove?: boolean;
  /** Whether the agent there must say meanwhile that it is not ready. */
  unready?: boolean;
}

async function cutOff({ nodes }: Fleet, cutting: Cut): Promise<string> {
  const { rules, ms, mayMove, mustMove = false, unready = false } = cutting;
  const before = await settled(nodes);
  // What moved away from a host that was cut off before has not moved back: one is cut off that has something to lose.
  const cut = nodes.find(({ host }) => before.some(({ node }) => node === host.name))!;
  const others = nodes.filter(node => node !== cut);
  const [first] = others;
  const seen: { movedMs: number | null; unready: boolean } = { movedMs: null, unready: false };
  const heard = await withTraffic(others, async () => {
    await cut.host.filter(rules);
    const cutMs = performance.now();
    try {
      while (performance.now() - cutMs < ms) {
        seen.movedMs ??= (await runElsewhere(first!, cut, before)) ? performance.now() - cutMs : null;
        if (unready && !seen.unready) seen.unready = await saysUnready(cut);
        await sleep(200);
      }
      for (const [chain, packets] of await cut.host.filtered())
        assert.ok(packets > 0, `the cut of ${cut.host.name} dropped nothing: ${chain}`);
    } finally {
      await cut.host.filter(null);
    }
    const after = await settled(nodes);
    for (const { host } of others) unchanged(before, after, host.name);
    if (!mayMove) unchanged(before, after, cut.host.name);
  });
  if (mustMove) assert.notEqual(seen.movedMs, null, 'nothing was taken over');
  if (unready) assert.ok(seen.unready, `the agent of ${cut.host.name} was ready all the time`);
  bearable(heard, SHORT_SILENCE_MS);
  return `${seen.movedMs === null ? 'nothing moved' : `moved after ${seconds(seen.movedMs)}`}; ${silences(heard)}`;
}

async function freezeAgent({ nodes }: Fleet): Promise<string> {
  const [, frozen] = nodes;
  return steady(nodes, async () => {
    const before = await agentPid(frozen);
    await frozen.host.must(['systemctl', 'kill', '--kill-whom=main', '-s', 'STOP', 'hop3-agent']);
    const replaced = async (): Promise<boolean> => ![0, before].includes(await agentPid(frozen));
    await until('the watchdog has replaced the agent', replaced, 60_000);
    await isReady(frozen);
  });
}

async function stopEtcd({ nodes }: Fleet): Promise<string> {
  return steady(nodes, async () => {
    await Promise.all(nodes.map(({ host }) => host.must(['systemctl', 'stop', 'hop3-etcd'])));
    await sleep(60_000);
    await Promise.all(nodes.map(({ host }) => host.must(['systemctl', 'start', 'hop3-etcd'])));
  });
}

async function reboot(fleet: Fleet): Promise<string> {
  return awayAndBack(fleet, ({ host }) => host.reboot());
}

async function pullThePlug(fleet: Fleet): Promise<string> {
  return awayAndBack(fleet, async ({ host }) => {
    await host.pullThePlug();
    await readyInstances(fleet.nodes[0], APP, COPIES);
    await host.start();
  });
}

async function awayAndBack({ nodes }: Fleet, act: (node: Node) => Promise<void>): Promise<string> {
  const [first, away, third] = nodes;
  const before = await settled(nodes);
  let backMs = Infinity;
  const heard = await withTraffic([first, third], async () => {
    const beganMs = performance.now();
    await act(away);
    await isReady(away);
    const after = await settled(nodes);
    backMs = performance.now() - beganMs;
    for (const { host } of [first, third]) unchanged(before, after, host.name);
  });
  bearable(heard, SHORT_SILENCE_MS);
  return `all well ${seconds(backMs)} after it went; ${silences(heard)}`;
}

async function stopEverything({ nodes }: Fleet): Promise<string> {
  await settled(nodes);
  await Promise.all(nodes.map(({ host }) => host.powerOff()));
  await Promise.all(nodes.map(({ host }) => host.start()));
  const bootedMs = performance.now();
  await readyInstances(nodes[0], APP, COPIES);
  await answersEverywhere(nodes);
  const backMs = performance.now() - bootedMs;
  assert.ok(backMs <= 60_000, `it took ${seconds(backMs)}`);
  return `all well ${seconds(backMs)} after the hosts had booted`;
}

async function takeOut({ nodes, release }: Fleet): Promise<string> {
  const [first, second, leaving] = nodes;
  const before = await settled(nodes);
  const heard = await withTraffic([first, second], async () => {
    const said = await leaving.host.must(['node', `${release}/install.js`, 'remove']);
    assert.match(said, /it has left the cluster/);
    const moved = await readyInstances(first, APP, COPIES);
    assert.ok(moved.every(({ node }) => node !== leaving.host.name));
    const left = await leaving.host.run(['pgrep', '-fa', 'server.cjs|haproxy|etcd|hop3']);
    // 1 = it looked, and found none.
    assert.deepEqual({ code: left.code, stdout: left.stdout }, { code: 1, stdout: '' }, left.stderr);
    await leaving.host.must(['test', '-e', '/etc/hop3/agent.yaml', '-a', '-d', '/var/lib/hop3-agent']);
    await leaving.host.must(['node', `${release}/install.js`]);
    await isReady(leaving);
    const after = await settled(nodes);
    for (const { host } of [first, second]) unchanged(before, after, host.name);
  });
  bearable(heard, SHORT_SILENCE_MS);
  return silences(heard);
}

/** Does something that must not be felt: no process of the app changes, and each proxy goes on answering. */
async function steady(nodes: Node[], act: () => Promise<void>): Promise<string> {
  const before = await settled(nodes);
  const heard = await withTraffic(nodes, async () => {
    await act();
    const after = await settled(nodes);
    for (const { host } of nodes) unchanged(before, after, host.name);
  });
  bearable(heard, 1000);
  return silences(heard);
}

/** The app is asked for through the proxies of these nodes until all of it is done, or has failed. */
async function withTraffic(nodes: Node[], act: () => Promise<void>): Promise<ReadonlyMap<string, Heard>> {
  const traffic = new Traffic(nodes, HOSTNAME);
  try {
    await act();
  } finally {
    await traffic.stop();
  }
  return traffic.stop();
}

/** All copies are ready in the eyes of each agent, no other runs anywhere, and each proxy answers. */
async function settled(nodes: Node[]): Promise<InstanceView[]> {
  await Promise.all(nodes.map(node => isReady(node)));
  await Promise.all(nodes.map(node => readyInstances(node, APP, COPIES)));
  await answersEverywhere(nodes);
  let running: number[] = [];
  const noneTooMany = async (): Promise<boolean> => {
    running = await Promise.all(nodes.map(node => copiesOn(node)));
    return running.reduce((sum, count) => sum + count, 0) === COPIES;
  };
  await until(`${COPIES} copies run in all`, noneTooMany, 60_000).catch((error: unknown) => {
    throw new Error(`${(error as Error).message}: there are ${running.join(', ')}`, { cause: error });
  });
  const surely = async (): Promise<InstanceView[] | null> => {
    const all = await readyInstances(nodes[0]!, APP, COPIES);
    return all.every(({ mayStillRun }) => mayStillRun.length === 0) ? all : null;
  };
  return until('no host may still run what moved away from it', surely, 60_000);
}

/** The processes of the app on a host, by the view of its kernel. */
async function copiesOn({ host }: Node): Promise<number> {
  const { code, stdout, stderr } = await host.run(['pgrep', '-f', '-c', 'server[.]cjs']);
  // 1 = it looked, and found none.
  if (code !== 0 && code !== 1) throw new Error(`${host.name}: pgrep ended with ${String(code)}: ${stderr}`);
  return Number(stdout.trim());
}

async function answersEverywhere(nodes: Node[]): Promise<void> {
  for (const node of nodes) {
    const answers = async (): Promise<boolean> => (await askProxy(node, HOSTNAME)) !== null;
    await until(`the proxy of ${node.host.name} answers`, answers, 30_000);
  }
}

async function runElsewhere(seenBy: Node, { host }: Node, before: InstanceView[]): Promise<boolean> {
  const items =
    (await seenBy.api.instances({ app: APP }, AbortSignal.timeout(ASKED_MS)).catch(() => null))?.items ?? [];
  const there = before.filter(({ node }) => node === host.name).map(({ instance }) => instance);
  return there.some(name =>
    items.some(({ instance, node, ready }) => instance === name && node !== host.name && ready),
  );
}

async function saysUnready({ api }: Node): Promise<boolean> {
  const health = await api.ready(AbortSignal.timeout(ASKED_MS)).catch(() => null);
  return health?.ready === false;
}

/** @throws AssertionError when an instance that ran on a host is not the same process on it now */
function unchanged(before: InstanceView[], after: InstanceView[], host: string): void {
  const of = (instances: InstanceView[]): string[] =>
    instances.filter(({ node }) => node === host).map(({ instance, pid }) => `${instance} ${pid ?? 0}`);
  const now = of(after);
  for (const process of of(before))
    assert.ok(now.includes(process), `${host} had ${process}, and now: ${now.join(', ')}`);
}

function bearable(heard: ReadonlyMap<string, Heard>, mostMs: number): void {
  for (const [host, { asked, failed, longestSilenceMs }] of heard) {
    assert.ok(
      asked > 0 && longestSilenceMs <= mostMs,
      `the proxy of ${host} was silent for ${longestSilenceMs} ms (${failed} of ${asked} requests failed)`,
    );
  }
}

function silences(heard: ReadonlyMap<string, Heard>): string {
  const each = [...heard.values()];
  const asked = each.reduce((sum, one) => sum + one.asked, 0);
  const failed = each.reduce((sum, one) => sum + one.failed, 0);
  const longest = Math.max(...each.map(({ longestSilenceMs }) => longestSilenceMs));
  return `${failed} of ${asked} requests failed, longest silence ${seconds(longest)}`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function bothWays(rules: string[]): string {
  return `${oneWay('input', rules)}\n${oneWay('output', rules)}`;
}

function oneWay(hook: 'input' | 'output', rules: string[]): string {
  const link = hook === 'input' ? 'iifname host0' : 'oifname host0';
  const lines = rules.map(rule => `${link} ${rule};`);
  return `chain ${hook} { type filter hook ${hook} priority -10; ${lines.join(' ')} }`;
}
