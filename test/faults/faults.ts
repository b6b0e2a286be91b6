import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TestNode } from '../support/cluster.ts';
import type { EtcdMember } from '../support/etcd.ts';
import type { ProxyMode, TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import type { Network } from './network.ts';
import { hoursAhead, type WallClock } from './odd-clocks.ts';
import { TTL_MS, type World } from './world.ts';

/**
 * Begins something bad, holds it as long as it has to last, and ends it. `began` is called once it is in force.
 * @throws Error when it was not, or when nobody can have noticed it: then it proves nothing
 */
export type Fault<Victim> = (world: World, victim: Victim, began: () => void) => Promise<void>;

const DELAYED_MS = 0.9 * TTL_MS;

export const agentFaults = {
  killed: async (_, node, began) => {
    await node.end('SIGKILL');
    began();
    await sleep(2.6 * TTL_MS);
    await node.start();
  },
  sessionDeleted: async (world, node, began) => {
    const deleted = await world.etcd.ctl('del', '--prefix', `/hop3/test/sessions/${node.name}/`);
    if (deleted !== '1') throw new Error(`${deleted} session keys of ${node.name} were deleted, not one`);
    began();
    await sleep(1.5 * TTL_MS);
  },
  cutFromEtcd: overLinks('black-hole', 2.6),
  cutFromPeers: async (world, node, began) =>
    lost(world.network, bothWays(node, world.others(node)), began, () => sleep(1.5 * TTL_MS)),
  oneWay: async (world, node, began) =>
    lost(world.network, fromTo(node, world.others(node)), began, () =>
      overLinks('drop-requests', 2.6)(world, node, () => undefined),
    ),
  repliesLost: overLinks('drop-replies', 2.6),
  delayed: overLinks('delay', 2.6),
  restarted: async (_, node, began) => {
    await node.end('SIGTERM');
    began();
    await node.start();
    await node.ready();
  },
  diskFull: async (world, node, began) => {
    await world.fillDisk(node);
    began();
    try {
      await sleep(2 * TTL_MS);
    } finally {
      await world.emptyDisk(node);
    }
  },
} satisfies Record<string, Fault<TestNode>>;

export function agentFrozen(ttls: number): Fault<TestNode> {
  return (_, node, began) => frozen([node.pid], ttls, began);
}

/** An hour ahead, then an hour behind, then right again. All agents of the world have this clock. */
export function wallClockSet(clock: WallClock): Fault<TestNode> {
  return async (_, node, began) => {
    const set = async (hours: number): Promise<void> => {
      await clock.set(hours);
      const isSo = async (): Promise<boolean> => Math.abs((await hoursAhead(node.url)) - hours) < 0.1;
      await until(`the wall clock of ${node.name} is ${hours} h ahead`, isSo);
    };
    await set(1);
    began();
    await sleep(1.2 * TTL_MS);
    await set(-1);
    await sleep(1.2 * TTL_MS);
    await set(0);
  };
}

export const memberFaults = {
  killed: async (_, member, began) => {
    await member.kill();
    began();
    await sleep(1.5 * TTL_MS);
    await member.start();
    await member.healthy();
  },
  restarted: async (_, member, began) => {
    await member.kill();
    began();
    await member.start();
    await member.healthy();
  },
  cutFromClients: overMember('black-hole', 1.5),
  cutFromMembers: async (world, member, began) =>
    lost(world.etcdNetwork, bothWays(member, othersOf(world, member)), began, () => sleep(1.5 * TTL_MS)),
  oneWay: async (world, member, began) =>
    lost(world.etcdNetwork, fromTo(member, othersOf(world, member)), began, () => sleep(1.5 * TTL_MS)),
  repliesLost: overMember('drop-replies', 1.5),
  delayed: overMember('delay', 1.5),
} satisfies Record<string, Fault<EtcdMember>>;

export function memberFrozen(ttls: number): Fault<EtcdMember> {
  return (_, member, began) => frozen([member.pid], ttls, began);
}

/** Processes that do not run for so long. */
export async function frozen(pids: number[], ttls: number, began: () => void): Promise<void> {
  await freeze(pids);
  began();
  await sleep(ttls * TTL_MS);
  signalAll(pids, 'SIGCONT');
}

/** Resolves when none of them runs, though some may have gone meanwhile. @throws Error when none was there */
export async function freeze(pids: number[]): Promise<void> {
  signalAll(pids, 'SIGSTOP');
  await until('all of it is frozen', () => pids.every(pid => 'TZX'.includes(stateOf(pid))), 2000);
  if (!pids.some(pid => stateOf(pid) === 'T')) throw new Error('there was nothing to freeze');
}

/** Resolves when none of them is there any more. */
export async function kill(pids: number[]): Promise<void> {
  if (pids.length === 0) throw new Error('there is nothing to kill');
  signalAll(pids, 'SIGKILL');
  await until('all of it is dead', () => pids.every(pid => 'ZX'.includes(stateOf(pid))), 2000);
}

/** A process and all its descendants, as pids of this machine. */
export function processTree(pid: number): number[] {
  const parents = new Map(
    readdirSync('/proc')
      .filter(name => /^\d+$/.test(name))
      .map(name => [Number(name), parentOf(Number(name))]),
  );
  const tree = [pid];
  for (const each of tree) for (const [child, parent] of parents) if (parent === each) tree.push(child);
  return tree;
}

/** The guard (`unshare` and the shell in its namespace), and below it what runs under it. */
export function guardAndProcess(pid: number): { guard: number[]; process: number[] } {
  const tree = processTree(pid);
  const [unshare, ...below] = tree;
  const process = below.filter(each => nameOf(each) !== 'bash');
  return { guard: [unshare!, ...below.filter(each => nameOf(each) === 'bash')], process };
}

/** Some may have gone meanwhile. */
export function signalAll(pids: number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

/** What one has to say to others, by direction. */
type Directions = [from: string, to: string][];

function fromTo(one: { name: string }, others: { name: string }[]): Directions {
  return others.map(other => [one.name, other.name]);
}

function bothWays(one: { name: string }, others: { name: string }[]): Directions {
  return [...fromTo(one, others), ...others.flatMap(other => fromTo(other, [one]))];
}

function othersOf({ etcd }: World, member: EtcdMember): EtcdMember[] {
  return etcd.members.filter(each => each !== member);
}

async function lost(
  network: Network,
  directions: Directions,
  began: () => void,
  hold: () => Promise<void>,
): Promise<void> {
  for (const [from, to] of directions) network.lose(from, to);
  try {
    began();
    await hold();
    const unfelt = network.unfelt();
    if (unfelt.length > 0) throw new Error(`nothing was lost: ${unfelt.join(', ')}`);
  } finally {
    network.heal();
  }
}

function overLinks(mode: ProxyMode, ttls: number): Fault<TestNode> {
  return (world, node, began) => over(world.links.get(node.name)!, mode, ttls, began);
}

function overMember(mode: ProxyMode, ttls: number): Fault<EtcdMember> {
  return async (world, member, began) => {
    await world.putToUse(member);
    await over(world.linksTo(member), mode, ttls, began);
  };
}

async function over(links: TcpProxy[], mode: ProxyMode, ttls: number, began: () => void): Promise<void> {
  for (const link of links) await link.set(mode, mode === 'delay' ? DELAYED_MS : 0);
  try {
    began();
    await sleep(ttls * TTL_MS);
    if (links.every(link => link.withheldBytes === 0)) throw new Error(`${mode}: nothing was held back`);
  } finally {
    for (const link of links) {
      await link.set('pass');
      // What is still on its way would arrive after what is sent from now on.
      if (mode === 'delay') link.cut();
    }
  }
}

function parentOf(pid: number): number {
  return Number(statOf(pid)?.[1] ?? 0);
}

/** As in /proc: `T` = stopped, `Z` = dead, and nobody has asked how it ended; `X` = not there. */
function stateOf(pid: number): string {
  return statOf(pid)?.[0] ?? 'X';
}

/** What follows its name in /proc. */
function statOf(pid: number): string[] | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return null;
  }
}

function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'latin1').trim();
  } catch {
    return '';
  }
}
