import type { TestNode } from '../support/cluster.ts';
import type { TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import { freeze } from './faults.ts';
import { monotonicMs } from './monotonic.ts';
import { handovers, tokenTrouble } from './spans.ts';
import { wedge } from './wedge.ts';
import { TTL_MS, WRITERS, type World } from './world.ts';

export interface GuardRow {
  what: string;
  cycles: number;
  handovers: number;
  overlaps: number;
  /** Between the last sign of one owner's process and the first of the next one's. */
  smallestGapMs: number | null;
  /** Between the last sign of a process and the end of the session key of its node. */
  leastBeforeKeyMs: number | null;
  longestTakeoverMs: number | null;
  trouble: string[];
}

/** How an agent can fail to stop what it must stop. Resolves once the failure is in force; what it gives ends it. */
type Failing = (world: World, node: TestNode) => Promise<() => Promise<void>>;

export const failings: Record<string, Failing> = {
  'agent frozen (SIGSTOP)': async (_, node) => {
    await freeze([node.pid]);
    return async () => node.signal('SIGCONT');
  },
  'agent killed (SIGKILL)': async (_, node) => {
    await node.end('SIGKILL');
    return () => node.start();
  },
  'agent wedged in its event loop': async (_, node) => {
    await wedge(node.pid, node.inspectPort, 3 * TTL_MS);
    return async () => undefined;
  },
  'agent in a crash loop, cut from etcd': async (world, node) => {
    const links = world.links.get(node.name)!;
    for (const link of links) await link.set('black-hole');
    const stop = new AbortController();
    const looping = (async () => {
      while (!stop.signal.aborted) {
        await node.end('SIGKILL');
        await node.start();
        await askedInVain(links);
      }
    })();
    // Whoever ends it is told; until then nobody waits for it.
    looping.catch(() => undefined);
    return async () => {
      stop.abort();
      try {
        await looping;
      } finally {
        for (const link of links) await link.set('pass');
      }
    };
  },
};

/** It crashes when it has tried to reach etcd, however long this machine takes to start it. */
async function askedInVain(links: TcpProxy[]): Promise<void> {
  const held = (): number => links.reduce((sum, link) => sum + link.withheldBytes, 0);
  const before = held();
  await until('an agent in a crash loop asks etcd', () => held() > before, 15_000);
}

/** One cycle: the owners of both writers lose them, and others take them. */
export async function guardCycle(world: World, what: string, failing: Failing): Promise<GuardRow> {
  world.forgetSigns();
  const node = await world.ownerOf(WRITERS[0]!);
  const owned: string[] = [];
  for (const writer of WRITERS) if ((await world.ownerOf(writer)) === node) owned.push(writer);
  const beganMs = monotonicMs();
  const heal = await failing(world, node);
  const trouble: string[] = [];
  const taken = async (): Promise<boolean> => {
    const spans = world.spans();
    return owned.every(writer => spans.some(span => span.instance === writer && span.node !== node.name));
  };
  await until(`others run what ${node.name} had`, taken, 4 * TTL_MS).catch((error: unknown) => {
    trouble.push((error as Error).message);
  });
  await heal().catch((error: unknown) => trouble.push((error as Error).message));
  await world.healed().catch((error: unknown) => trouble.push((error as Error).message));
  const spans = world.spans();
  const { overlaps, smallestGapMs } = handovers(spans);
  const losses = owned.flatMap(writer => {
    const own = spans.filter(span => span.instance === writer);
    const next = own.find(span => span.node !== node.name);
    const last = own.filter(span => span.node === node.name && span.firstMs < (next?.firstMs ?? 0)).at(-1);
    const end = world.watcher.ends.find(each => each.node === node.name && each.atMs > beganMs);
    return next && last && end
      ? [{ beforeKeyMs: end.atMs - last.lastMs, takeoverMs: next.firstMs - beganMs }]
      : [];
  });
  const leastBeforeKeyMs = least(losses.map(({ beforeKeyMs }) => beforeKeyMs));
  if (leastBeforeKeyMs !== null && leastBeforeKeyMs <= 0)
    trouble.push('it outlived the session key of its node');
  return {
    what,
    cycles: 1,
    handovers: losses.length,
    overlaps: overlaps.length,
    smallestGapMs,
    leastBeforeKeyMs,
    longestTakeoverMs: losses.length === 0 ? null : Math.max(...losses.map(({ takeoverMs }) => takeoverMs)),
    trouble: [...trouble, ...overlaps, ...tokenTrouble(spans)],
  };
}

/** Of a cycle that could not be tried. */
export function brokenGuardRow(what: string, error: unknown): GuardRow {
  return {
    what,
    cycles: 1,
    handovers: 0,
    overlaps: 0,
    smallestGapMs: null,
    leastBeforeKeyMs: null,
    longestTakeoverMs: null,
    trouble: [`it could not be tried: ${(error as Error).message}`],
  };
}

export function allCycles(rows: GuardRow[]): GuardRow {
  const sum = (pick: (row: GuardRow) => number): number => rows.reduce((total, row) => total + pick(row), 0);
  return {
    what: rows[0]?.what ?? '',
    cycles: sum(({ cycles }) => cycles),
    handovers: sum(row => row.handovers),
    overlaps: sum(({ overlaps }) => overlaps),
    smallestGapMs: least(rows.flatMap(({ smallestGapMs }) => smallestGapMs ?? [])),
    leastBeforeKeyMs: least(rows.flatMap(({ leastBeforeKeyMs }) => leastBeforeKeyMs ?? [])),
    longestTakeoverMs: longest(rows.flatMap(({ longestTakeoverMs }) => longestTakeoverMs ?? [])),
    trouble: rows.flatMap(({ trouble }) => trouble),
  };
}

function least(numbers: number[]): number | null {
  return numbers.length === 0 ? null : Math.min(...numbers);
}

function longest(numbers: number[]): number | null {
  return numbers.length === 0 ? null : Math.max(...numbers);
}
