import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { InstanceView, NodeView } from '../../src/model/views.ts';
import { until } from '../support/until.ts';
import { cutFromPeer, cuts } from './cuts.ts';
import { driversKeepTheirContracts } from './drivers.ts';
import {
  agentPid,
  ASKED_MS,
  installEverywhere,
  isReady,
  readyInstances,
  TTL_MS,
  type Fleet,
  type Form,
  type Node,
} from './fleet.ts';
import { guardCycles } from './guard-cycles.ts';
import { failedUpgrades, grown, nothingRuns, takenOutAtBoot } from './installed.ts';
import { lowPort } from './fixed-ports.ts';
import { takeoverTrouble, type Moves, type Takeover } from './judge.ts';
import { ownCommand } from './owned.ts';
import {
  answersEverywhere,
  APP,
  bearable,
  COPIES,
  HOSTNAME,
  seconds,
  settled,
  silences,
  spread,
  steady,
  unchanged,
  withTraffic,
} from './shop.ts';

/** Beyond every lease (10 s), so that whatever would be taken over has been. */
const LONG_MS = 30_000;
/** A host that is gone is found out by the proxies' own checks. */
const SHORT_SILENCE_MS = 10_000;
export interface Scenario {
  name: string;
  /** Also part of the short form. */
  quick: boolean;
  run(fleet: Fleet, form: Form): Promise<string>;
}

/** In this order: each begins when all is well again after the one before, and gives what it measured in words. */
export const scenarios: Scenario[] = [
  { name: 'the installer, run twice, makes a cluster of three hosts', quick: true, run: install },
  { name: 'an app deployed on one host answers through the proxy of each', quick: true, run: deploy },
  {
    name: 'a fixed port below 1024 is had on each host by one instance, which is not root',
    quick: false,
    run: lowPort,
  },
  { name: 'a killed agent is started again, and nothing of the app is', quick: true, run: killAgents },
  { name: 'twenty upgrades change no process of an app', quick: true, run: upgrades },
  {
    name: 'an upgrade that is worse than what it replaces is taken back, and changes no process of an app',
    quick: true,
    run: failedUpgrades,
  },
  {
    name: 'a command under a name runs on one host at a time, and ends before its host loses the name',
    quick: false,
    run: ownCommand,
  },
  {
    name: 'an exclusive process is dead before its key can be gone, whatever becomes of its agent',
    quick: true,
    run: guardCycles,
  },
  {
    name: 'a host cut off from etcd only loses nothing',
    quick: true,
    run: (fleet, { quick }) =>
      cutOff(fleet, {
        place: 0,
        rules: cuts.etcd,
        ms: quick ? 15_000 : LONG_MS,
        moves: 'never',
        unready: true,
      }),
  },
  {
    name: 'a host cut off from one observer only loses nothing',
    quick: false,
    run: fleet =>
      cutOff(fleet, {
        place: 2,
        rules: cutFromPeer(fleet.nodes[0].host.address),
        ms: LONG_MS,
        moves: 'never',
        unheardBy: fleet.nodes[0],
      }),
  },
  {
    name: 'a host cut off from its peers only troubles no other',
    quick: false,
    run: fleet => cutOff(fleet, { place: 1, rules: cuts.peers, ms: LONG_MS, moves: 'may' }),
  },
  {
    name: 'a host that hears nothing troubles no other',
    quick: false,
    run: fleet => cutOff(fleet, { place: 2, rules: cuts.incoming, ms: LONG_MS, moves: 'may' }),
  },
  {
    name: 'a host that is not heard troubles no other',
    quick: false,
    run: fleet => cutOff(fleet, { place: 1, rules: cuts.outgoing, ms: LONG_MS, moves: 'may' }),
  },
  {
    name: 'of a host cut off from everybody, others take the app over before its lease ends',
    quick: true,
    run: (fleet, { quick }) =>
      cutOff(fleet, {
        place: 0,
        rules: cuts.everything,
        ms: quick ? 20_000 : LONG_MS,
        moves: 'must',
      }),
  },
  { name: 'a frozen agent is replaced by its watchdog, and loses nothing', quick: false, run: freezeAgent },
  { name: 'without etcd for a minute nothing restarts', quick: false, run: stopEtcd },
  { name: 'a host that reboots comes back by itself, and troubles no other', quick: true, run: reboot },
  {
    name: 'a host whose plug is pulled is replaced before its lease ends, and comes back by itself',
    quick: false,
    run: pullThePlug,
  },
  { name: 'after everything was off, everything comes back without hands', quick: true, run: stopEverything },
  { name: 'a host that is taken out hands its app on, and keeps its data', quick: true, run: takeOut },
  {
    name: 'a host that is taken out while its agent is starting leaves nothing behind',
    quick: false,
    run: takenOutAtBoot,
  },
  {
    name: 'the drivers keep their contracts with a systemd that is real',
    quick: true,
    run: driversKeepTheirContracts,
  },
  { name: 'a host with an etcd of its own is joined by another, which is purged', quick: false, run: grown },
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

async function upgrades(fleet: Fleet, { quick }: Form): Promise<string> {
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
  /** Of the host among all; one that went lately is given time. */
  place: 0 | 1 | 2;
  rules: string;
  ms: number;
  moves: Moves;
  /** Who must say, alone, that it does not hear the agent there. */
  unheardBy?: Node;
  /** Whether the agent there must say meanwhile that it is not ready. */
  unready?: boolean;
}

async function cutOff({ nodes }: Fleet, cutting: Cut): Promise<string> {
  const { place, rules, ms, moves, unheardBy, unready = false } = cutting;
  const before = await spread(nodes);
  const cut = nodes[place];
  await leadEtcd(nodes, cut);
  const others = nodes.filter(node => node !== cut);
  const [first] = others;
  const seen: { takeover: Takeover | null; unready: boolean; deaf: string[] } = {
    ...{ takeover: null, unready: false, deaf: [] },
  };
  const heard = await withTraffic(others, async () => {
    const cutMs = performance.now();
    await cut.host.filter(rules);
    try {
      while (performance.now() - cutMs < ms) {
        seen.takeover ??= await takeoverOf(cut, first!, before, cutMs);
        if (unheardBy) seen.deaf = (await rowOf(cut, first!))?.unheardBy.map(({ node }) => node) ?? seen.deaf;
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
    if (moves === 'never') unchanged(before, after, cut.host.name);
  });
  assert.equal(takeoverTrouble(moves, seen.takeover, TTL_MS), null);
  if (unheardBy) assert.deepEqual(seen.deaf, [unheardBy.host.name]);
  if (unready) assert.ok(seen.unready, `the agent of ${cut.host.name} was ready all the time`);
  bearable(heard, SHORT_SILENCE_MS);
  return `${movedText(seen.takeover)}; ${silences(heard)}`;
}

/** Makes a host's member of etcd the leader: to lose that one is the worst for the others. */
function leadEtcd(nodes: Node[], { host }: Node): Promise<unknown> {
  // After what was done to it before, it may be electing.
  return until(`the etcd of ${host.name} leads`, async () => {
    const members = await Promise.all(nodes.map(membership)).catch(() => []);
    const target = members.find(({ node }) => node.host === host);
    if (target === undefined || target.id === target.leader) return target !== undefined;
    const leader = members.find(({ id }) => id === target.leader);
    if (leader) await etcdctl(leader.node, ['move-leader', target.id]).catch(() => undefined);
    return false;
  });
}

/** As etcdctl has them, in hexadecimal. */
async function membership(node: Node): Promise<{ node: Node; id: string; leader: string }> {
  const said = await etcdctl(node, ['endpoint', 'status', '--write-out=fields']);
  const field = (name: string): string =>
    BigInt(new RegExp(`"${name}" : (\\d+)`).exec(said)?.[1] ?? 0).toString(16);
  return { node, id: field('MemberID'), leader: field('Leader') };
}

function etcdctl({ host }: Node, command: string[]): Promise<string> {
  const files = ['--cacert=/etc/hop3/ca.pem', '--cert=/etc/hop3/node.pem', '--key=/etc/hop3/node.key'];
  const endpoint = `--endpoints=https://${host.address}:2379`;
  return host.must(['etcdctl', ...files, endpoint, ...command], { env: { ETCDCTL_API: '3' } });
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
  return awayAndBack(fleet, 1, ({ host }) => host.reboot());
}

async function pullThePlug(fleet: Fleet): Promise<string> {
  let moved: Takeover | null = null;
  const said = await awayAndBack(fleet, 2, async (node, before) => {
    const pulledMs = performance.now();
    await node.host.pullThePlug();
    moved = await until('others run what it had', () => takeoverOf(node, fleet.nodes[0], before, pulledMs));
    await node.host.start();
  });
  assert.equal(takeoverTrouble('must', moved, TTL_MS), null);
  return `${movedText(moved)}; ${said}`;
}

async function awayAndBack(
  { nodes }: Fleet,
  place: 0 | 1 | 2,
  act: (node: Node, before: InstanceView[]) => Promise<void>,
): Promise<string> {
  const away = nodes[place];
  const others = nodes.filter(node => node !== away);
  const before = await spread(nodes);
  let backMs = Infinity;
  const heard = await withTraffic(others, async () => {
    const beganMs = performance.now();
    await act(away, before);
    await isReady(away);
    const after = await settled(nodes);
    backMs = performance.now() - beganMs;
    for (const { host } of others) unchanged(before, after, host.name);
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
  const before = await spread(nodes);
  const heard = await withTraffic([first, second], async () => {
    const said = await leaving.host.must(['node', `${release}/install.js`, 'remove']);
    assert.match(said, /it has left the cluster/);
    const moved = await readyInstances(first, APP, COPIES);
    assert.ok(moved.every(({ node }) => node !== leaving.host.name));
    await nothingRuns(leaving);
    await leaving.host.must(['test', '-e', '/etc/hop3/agent.yaml', '-a', '-d', '/var/lib/hop3-agent']);
    await leaving.host.must(['node', `${release}/install.js`]);
    await isReady(leaving);
    const after = await settled(nodes);
    for (const { host } of [first, second]) unchanged(before, after, host.name);
  });
  bearable(heard, SHORT_SILENCE_MS);
  return silences(heard);
}

/** By the view of another node; null = not yet. */
async function takeoverOf(
  lost: Node,
  seenBy: Node,
  before: InstanceView[],
  sinceMs: number,
): Promise<Takeover | null> {
  if (!(await runElsewhere(seenBy, lost, before))) return null;
  const afterMs = performance.now() - sinceMs;
  const row = await rowOf(lost, seenBy);
  return { afterMs, sessionThere: row?.state === 'Active' };
}

async function rowOf({ host }: Node, seenBy: Node): Promise<NodeView | null> {
  const listing = await seenBy.api.nodes(AbortSignal.timeout(ASKED_MS)).catch(() => null);
  return listing?.items.find(({ name }) => name === host.name) ?? null;
}

function movedText(takeover: Takeover | null): string {
  return takeover === null ? 'nothing moved' : `moved after ${seconds(takeover.afterMs)}`;
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
