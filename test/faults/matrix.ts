import { setTimeout as sleep } from 'node:timers/promises';
import type { TestNode } from '../support/cluster.ts';
import {
  agentFaults,
  agentFrozen,
  freeze,
  frozen,
  guardAndProcess,
  kill,
  memberFaults,
  memberFrozen,
  signalAll,
  wallClockSet,
  type Fault,
} from './faults.ts';
import type { EtcdMember } from '../support/etcd.ts';
import type { WallClock } from './odd-clocks.ts';
import { TARGET, TTL_MS, type World } from './world.ts';

/** What is broken, and who suffers it. */
export interface Combination {
  who: string;
  what: string;
  /** In the short form, too. */
  quick?: boolean;
  /** `fenced`: only what a fenced resource accepts is promised. */
  judged: 'everything' | 'fenced';
  /** Redundant instances may be started elsewhere, because their observers can't reach them. */
  mayMove?: boolean;
  /** Nothing changes hands. */
  keepsTokens?: boolean;
  /** What has to become of the subject that it is aimed at in every run: another node runs it, or it is run anew. */
  mustBe?: 'taken over' | 'run anew';
  /** The name that programs share has to go to another node. */
  nameMustMove?: boolean;
  /** Without any of these in several runs nothing is proved. */
  mustShow?: 'stale attempts';
  /** etcd's linearizable reads can be stale after a pause: a known defect of some versions. */
  pausesEtcd?: boolean;
  run: (world: World, began: () => void) => Promise<void>;
}

export interface LeftOut {
  who: string;
  what: string;
  why: string;
}

const FREEZES = [0.5, 1.1, 3];
/** What becomes of a subject in every run when this is done to its owner. */
const becomes: Partial<Record<string, 'taken over' | 'run anew'>> = {
  SIGKILL: 'taken over',
  'session key deleted': 'run anew',
  'SIGSTOP 1.1 TTL': 'run anew',
  'SIGSTOP 3 TTL': 'taken over',
  'cut from etcd': 'taken over',
  'one way': 'taken over',
  'lost replies': 'taken over',
  'delay 0.9 TTL': 'run anew',
};

export function combinations(wallClock: WallClock | null): Combination[] {
  return [
    ...agents('owner', world => world.ownerOf(TARGET), wallClock).map(combination => {
      const mustBe = becomes[combination.what];
      return mustBe ? { ...combination, mustBe } : combination;
    }),
    ...agents('name owner', world => world.ownerOfName(), wallClock).map(combination => ({
      ...combination,
      nameMustMove: becomes[combination.what] === 'taken over',
    })),
    ...agents('supervisor', world => world.supervisor(), wallClock),
    ...successors(wallClock),
    ...guards(),
    ...processes(),
    ...members('etcd leader', world => world.leader()),
    ...members('etcd follower', async world => {
      const leader = await world.leader();
      return world.etcd.members.find(member => member !== leader)!;
    }),
  ];
}

const shortForm = new Set([
  'owner: SIGSTOP 3 TTL',
  'owner: cut from etcd',
  'owner: lost replies',
  'owner: restart',
  'successor: SIGKILL',
  'name owner: lost replies',
  'name owner: SIGSTOP 3 TTL',
]);

function agentFaultNames(wallClock: WallClock | null): [string, Fault<TestNode>, Partial<Combination>?][] {
  if (wallClock) return [['wall clock ±1 h', wallClockSet(wallClock)]];
  return [
    ['SIGKILL', agentFaults.killed],
    ['session key deleted', agentFaults.sessionDeleted],
    ...FREEZES.map((ttls): [string, Fault<TestNode>] => [`SIGSTOP ${ttls} TTL`, agentFrozen(ttls)]),
    ['cut from etcd', agentFaults.cutFromEtcd],
    ['cut from peers', agentFaults.cutFromPeers, { mayMove: true }],
    ['one way', agentFaults.oneWay, { mayMove: true }],
    ['lost replies', agentFaults.repliesLost],
    ['delay 0.9 TTL', agentFaults.delayed],
    ['restart', agentFaults.restarted, { keepsTokens: true }],
    ['disk full', agentFaults.diskFull],
  ];
}

function agents(
  who: string,
  find: (world: World) => Promise<TestNode>,
  wallClock: WallClock | null,
): Combination[] {
  return agentFaultNames(wallClock).map(([what, fault, more]) => ({
    who,
    what,
    judged: 'everything',
    quick: shortForm.has(`${who}: ${what}`),
    ...more,
    run: async (world, began) => fault(world, await find(world), began),
  }));
}

/** The owner's agent is killed for good, and the fault strikes whoever takes the subject, at the moment it does. */
function successors(wallClock: WallClock | null): Combination[] {
  return agentFaultNames(wallClock).map(([what, fault, more]) => ({
    who: 'successor',
    what,
    judged: 'everything',
    quick: shortForm.has(`successor: ${what}`),
    ...more,
    keepsTokens: false,
    mustBe: 'taken over',
    run: async (world, began) => {
      const owner = await world.ownerOf(TARGET);
      const taker = world.watcher.nextTaker(`instance/${TARGET}`, owner.name);
      await owner.end('SIGKILL');
      began();
      const successor = world.cluster.node(await orTooLate(taker));
      try {
        await fault(world, successor, () => undefined);
      } finally {
        await owner.start();
      }
    },
  }));
}

function guards(): Combination[] {
  const common = { who: 'guard', judged: 'everything' as const };
  return [
    {
      ...common,
      what: 'SIGKILL',
      quick: true,
      mustBe: 'run anew',
      run: async (world, began) => {
        await kill(guardAndProcess(await world.guardPid(TARGET)).guard);
        began();
      },
    },
    ...FREEZES.map((ttls): Combination => ({
      ...common,
      what: `SIGSTOP ${ttls} TTL`,
      run: async (world, began) => {
        const { guard } = guardAndProcess(await world.guardPid(TARGET));
        await frozen(guard, ttls, began);
      },
    })),
    {
      who: 'guard and agent',
      what: 'SIGSTOP 3 TTL',
      judged: 'fenced',
      mustBe: 'taken over',
      mustShow: 'stale attempts',
      run: async (world, began) => {
        const owner = await world.ownerOf(TARGET);
        const { guard } = guardAndProcess(await world.guardPid(TARGET));
        await frozen([owner.pid, ...guard], 3, began);
      },
    },
    ...FREEZES.map((ttls): Combination => ({
      who: 'whole node',
      what: `SIGSTOP ${ttls} TTL`,
      judged: 'fenced',
      quick: ttls === 3,
      ...(ttls === 3 ? { mustBe: 'taken over' as const, mustShow: 'stale attempts' as const } : {}),
      run: async (world, began) => {
        const owner = await world.ownerOf(TARGET);
        const { guard, process } = guardAndProcess(await world.guardPid(TARGET));
        await Promise.all([owner.pid, guard, process].map(pids => freeze([pids].flat())));
        began();
        await sleep(ttls * TTL_MS);
        // Nobody promises in which order a machine wakes: this is the worst one.
        signalAll(process, 'SIGCONT');
        await sleep(50);
        signalAll([...guard, owner.pid], 'SIGCONT');
      },
    })),
  ];
}

function processes(): Combination[] {
  const common = { who: 'process', judged: 'everything' as const };
  return [
    {
      ...common,
      what: 'SIGKILL',
      quick: true,
      mustBe: 'run anew',
      run: async (world, began) => {
        await kill(guardAndProcess(await world.guardPid(TARGET)).process);
        began();
      },
    },
    ...FREEZES.map((ttls): Combination => ({
      ...common,
      what: `SIGSTOP ${ttls} TTL`,
      run: async (world, began) => {
        await frozen(guardAndProcess(await world.guardPid(TARGET)).process, ttls, began);
      },
    })),
  ];
}

function members(who: string, find: (world: World) => Promise<EtcdMember>): Combination[] {
  const leads = who === 'etcd leader';
  const faults: [string, Fault<EtcdMember>, Partial<Combination>?][] = [
    ['SIGKILL', memberFaults.killed, { quick: leads }],
    ...FREEZES.map((ttls): [string, Fault<EtcdMember>, Partial<Combination>] => [
      `SIGSTOP ${ttls} TTL`,
      memberFrozen(ttls),
      {
        pausesEtcd: true,
        quick: leads && ttls === 1.1,
      },
    ]),
    ['cut from etcd', memberFaults.cutFromClients],
    ['cut from peers', memberFaults.cutFromMembers],
    ['one way', memberFaults.oneWay],
    ['lost replies', memberFaults.repliesLost],
    ['delay 0.9 TTL', memberFaults.delayed],
    ['restart', memberFaults.restarted],
  ];
  return faults.map(([what, fault, more]) => ({
    who,
    what,
    judged: 'everything',
    ...more,
    run: async (world, began) => fault(world, await find(world), began),
  }));
}

const NO_NETWORK = 'it speaks to nobody: it reads a file';
const OWN_EFFECTS = 'the process is an app: what it reaches is its own affair, and its token goes with it';
const GO_CLOCK =
  'written in Go, it asks the kernel for the time past any library, and its leases are on a monotonic clock';

export const leftOut: LeftOut[] = [
  {
    who: 'guard',
    what: 'session key deleted',
    why: 'it has no session: what the agent does then is in the row of the owner',
  },
  ...['cut from etcd', 'cut from peers', 'one way', 'lost replies', 'delay 0.9 TTL'].flatMap(what => [
    { who: 'guard', what, why: NO_NETWORK },
    { who: 'process', what, why: OWN_EFFECTS },
  ]),
  {
    who: 'guard',
    what: 'restart',
    why: 'it is never restarted: its end is the end of what it guards, as in SIGKILL',
  },
  {
    who: 'guard',
    what: 'wall clock ±1 h',
    why: 'it reads /proc/uptime, which no setting of the clock moves',
  },
  {
    who: 'guard',
    what: 'disk full',
    why: 'it only reads; that nothing can be written for it is in the row of the owner',
  },
  { who: 'process', what: 'session key deleted', why: 'it has no session' },
  { who: 'process', what: 'restart', why: 'the same as SIGKILL: the agent starts it again' },
  { who: 'process', what: 'wall clock ±1 h', why: 'an app’s own clock decides nothing of ownership' },
  { who: 'process', what: 'clock rate', why: 'an app’s own clock decides nothing of ownership' },
  { who: 'process', what: 'disk full', why: 'an app’s own disk decides nothing of ownership' },
  ...['successor', 'supervisor', 'name owner', 'guard'].map(who => ({
    who,
    what: 'clock rate',
    why: 'the row of the owner has a whole node, its guards included, on another rate',
  })),
  ...['etcd leader', 'etcd follower'].flatMap(who => [
    { who, what: 'session key deleted', why: 'a member of etcd has no session' },
    { who, what: 'wall clock ±1 h', why: GO_CLOCK },
    { who, what: 'clock rate', why: GO_CLOCK },
    { who, what: 'disk full', why: 'etcd ends itself when it can’t write its log: that is its SIGKILL' },
  ]),
];

function orTooLate<T>(wanted: Promise<T>): Promise<T> {
  const limit = new AbortController();
  const late = sleep(4 * TTL_MS, null, { signal: limit.signal }).then(
    () => {
      throw new Error(`nobody took ${TARGET} within 4 TTL`);
    },
    () => wanted,
  );
  return Promise.race([wanted, late]).finally(() => limit.abort());
}
