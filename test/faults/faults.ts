import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TestNode } from '../support/cluster.ts';
import type { EtcdMember } from '../support/etcd.ts';
import type { ProxyMode } from '../support/tcp-proxy.ts';
import type { WallClock } from './odd-clocks.ts';
import { TTL_MS, type World } from './world.ts';

/** Begins something bad, holds it as long as it has to last, and ends it. `began` is called once it is in force. */
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
    await world.etcd.ctl('del', '--prefix', `/hop3/test/sessions/${node.name}/`);
    began();
    await sleep(1.5 * TTL_MS);
  },
  cutFromEtcd: overLinks('black-hole', 2.6),
  cutFromPeers: async (world, node, began) => {
    for (const other of world.others(node)) {
      world.network.lose(node.name, other.name);
      world.network.lose(other.name, node.name);
    }
    began();
    await sleep(1.5 * TTL_MS);
    world.network.heal();
  },
  oneWay: async (world, node, began) => {
    for (const other of world.others(node)) world.network.lose(node.name, other.name);
    try {
      await overLinks('drop-requests', 2.6)(world, node, began);
    } finally {
      world.network.heal();
    }
  },
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
    await sleep(2 * TTL_MS);
    await world.emptyDisk(node);
  },
} satisfies Record<string, Fault<TestNode>>;

export function agentFrozen(ttls: number): Fault<TestNode> {
  return async (_, node, began) => {
    node.signal('SIGSTOP');
    began();
    await sleep(ttls * TTL_MS);
    node.signal('SIGCONT');
  };
}

/** An hour ahead, then an hour behind, then right again. All agents of the world have this clock. */
export function wallClockSet(clock: WallClock): Fault<TestNode> {
  return async (_, __, began) => {
    await clock.set(1);
    began();
    await sleep(1.2 * TTL_MS);
    await clock.set(-1);
    await sleep(1.2 * TTL_MS);
    await clock.set(0);
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
  cutFromMembers: async (world, member, began) => {
    for (const other of world.etcd.members.filter(each => each !== member)) {
      world.etcdNetwork.lose(member.name, other.name);
      world.etcdNetwork.lose(other.name, member.name);
    }
    began();
    await sleep(1.5 * TTL_MS);
    world.etcdNetwork.heal();
  },
  oneWay: async (world, member, began) => {
    for (const other of world.etcd.members.filter(each => each !== member)) {
      world.etcdNetwork.lose(member.name, other.name);
    }
    began();
    await sleep(1.5 * TTL_MS);
    world.etcdNetwork.heal();
  },
  repliesLost: overMember('drop-replies', 1.5),
  delayed: overMember('delay', 1.5),
} satisfies Record<string, Fault<EtcdMember>>;

export function memberFrozen(ttls: number): Fault<EtcdMember> {
  return async (_, member, began) => {
    member.pause();
    began();
    await sleep(ttls * TTL_MS);
    member.resume();
  };
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

function overLinks(mode: ProxyMode, ttls: number): Fault<TestNode> {
  return async (world, node, began) => {
    const links = world.links.get(node.name)!;
    for (const link of links) await link.set(mode, mode === 'delay' ? DELAYED_MS : 0);
    began();
    await sleep(ttls * TTL_MS);
    for (const link of links) {
      await link.set('pass');
      // What is still on its way would arrive after what is sent from now on.
      if (mode === 'delay') link.cut();
    }
  };
}

function overMember(mode: ProxyMode, ttls: number): Fault<EtcdMember> {
  return async (world, member, began) => {
    const links = world.linksTo(member);
    for (const link of links) await link.set(mode, mode === 'delay' ? DELAYED_MS : 0);
    began();
    await sleep(ttls * TTL_MS);
    for (const link of links) {
      await link.set('pass');
      if (mode === 'delay') link.cut();
    }
  };
}

function parentOf(pid: number): number {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return 0;
  }
}

function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'latin1').trim();
  } catch {
    return '';
  }
}
