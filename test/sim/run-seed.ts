import type { AppSpec } from '../../src/model/app-spec.ts';
import { instanceId } from '../../src/model/ids.ts';
import { versionOfRelease } from '../../src/model/records.ts';
import { releaseState } from '../../src/model/rollout.ts';
import { appSpec, processSpec } from '../support/nouns.ts';
import { Chance } from './chance.ts';
import { SimCluster, type SimOptions } from './cluster.ts';
import { faults, suspension, type Fault } from './faults.ts';
import type { WantedCopy } from './judge.ts';
import type { SimNode } from './node.ts';
import { Program, startReader } from './programs.ts';

/**
 * What a seed is about: everything, the same with programs that share names, the store alone, or clocks and pauses beyond what
 * unfenced effects are promised for.
 */
export const MODES = ['all', 'names', 'store', 'beyond'] as const;
type SimMode = (typeof MODES)[number];

export interface SeedResult {
  seed: number;
  mode: SimMode;
  /** Null = no rule was broken, and all came right in the end. */
  failure: string | null;
  steps: number;
  simulatedMs: number;
  hash: string;
  takeovers: number;
  staleAttempts: number;
  staleAccepted: number;
  overlaps: number;
  writesAccepted: number;
  exclusiveStarts: number;
  nameGrants: number;
  nameStaleAttempts: number;
  statesWritten: number;
  statesRead: number;
  trace: readonly string[];
}

/** The margin is a quarter of the lease's time: no two clocks within these rates differ by more. */
const WITHIN: [number, number] = [0.88, 1.12];
const BEYOND: [number, number] = [0.5, 2];
const HEALED_WITHIN_MS = 180_000;
/** What has come right stays so. */
const STAYS_MS = 10_000;

export function modeOf(seed: number): SimMode {
  const rest = seed % 10;
  return rest === 8 ? 'store' : rest === 9 ? 'beyond' : rest === 7 ? 'names' : 'all';
}

/** One whole life of a cluster: it begins, is hurt, is healed, and has to come right. The same seed is the same life. */
export async function runSeed(seed: number, settings: { keepTrace?: boolean } = {}): Promise<SeedResult> {
  const mode = modeOf(seed);
  const chance = new Chance(seed ^ 0x5eed);
  const options: SimOptions = {
    seed,
    nodes: chance.whole(3, 5),
    ttlSeconds: chance.pick([10, 10, 12]),
    // Where they are stale nothing can be said of what programs read.
    staleReads: chance.happens(mode === 'names' ? 0.4 : 0.6),
    rates: mode === 'beyond' ? BEYOND : WITHIN,
    strict: mode !== 'beyond',
    storeOnly: mode === 'store',
    keepTrace: settings.keepTrace === true,
  };
  const cluster = new SimCluster(options);
  const { timeline, judge } = cluster;
  let failure: string | null;
  try {
    failure = await live(cluster, mode);
  } catch (error) {
    failure = error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  for (const node of cluster.nodes) node.life?.kill();
  cluster.nameJudge.judgeHistories();
  return {
    seed,
    mode,
    failure: judge.broken?.message ?? failure,
    steps: timeline.steps,
    simulatedMs: timeline.nowMs,
    hash: timeline.digest(),
    ...judge.counts,
    ...cluster.nameJudge.counts,
    staleAccepted: judge.staleAccepted(),
    trace: timeline.told(),
  };
}

async function live(cluster: SimCluster, mode: SimMode): Promise<string | null> {
  const { timeline, chance, judge } = cluster;
  const broken = (): boolean => judge.broken !== null;
  for (const node of cluster.nodes) timeline.after(chance.between(0, 1500), () => node.start());
  await timeline.run(3000, broken);
  for (const app of APPS) apply(cluster, app);
  if (mode === 'names') startPrograms(cluster);
  await settle(cluster, 60_000);
  const before = judge.unfinished(wanted(cluster));
  if (before !== null) return `before anything went wrong: ${before}`;
  if (mode === 'store') judge.heldSinceMs = timeline.nowMs;
  if (mode !== 'store') cluster.troubleProbability = chance.pick([0, 0.1, 0.4]);

  const ends = attack(cluster, mode, timeline.nowMs + chance.between(20_000, 80_000));
  await timeline.run(ends.atMs, broken);
  timeline.tell('healed');
  const healedMs = timeline.nowMs;
  cluster.troubleProbability = 0;
  for (const end of ends.open) end();
  for (const node of cluster.nodes) node.switchOn();
  const untilMs = healedMs + HEALED_WITHIN_MS;
  let asked: string;
  do {
    await settle(cluster, untilMs - timeline.nowMs);
    asked = orders(cluster);
    await timeline.run(timeline.nowMs + STAYS_MS, broken);
    // An order may have been on its way to the store until after all was as wanted.
  } while (orders(cluster) !== asked && timeline.nowMs < untilMs && !broken());
  const idle = (): string | null => (mode === 'names' ? cluster.nameJudge.unfinished(NAMES, healedMs) : null);
  await timeline.run(untilMs, () => broken() || idle() === null);
  if (broken()) return null;
  const left = judge.unfinished(wanted(cluster)) ?? underWay(cluster) ?? idle();
  const seconds = Math.round((timeline.nowMs - healedMs) / 1000);
  return left === null ? null : `liveness: ${seconds} s after all was healed: ${left}`;
}

/** Lets time pass until all is as wanted. */
async function settle(cluster: SimCluster, withinMs: number): Promise<void> {
  const { timeline, judge } = cluster;
  const untilMs = timeline.nowMs + withinMs;
  while (timeline.nowMs < untilMs && judge.broken === null) {
    await timeline.run(Math.min(untilMs, timeline.nowMs + 1000), () => judge.broken !== null);
    for (const node of cluster.nodes) if (judge.heldSinceMs === null && !node.life) node.switchOn();
    if (judge.unfinished(wanted(cluster)) === null && underWay(cluster) === null) break;
  }
}

/** A deployment that was asked for and whose release is not wanted yet: when it is, all will be something else. */
function underWay({ etcd }: SimCluster): string | null {
  for (const app of APPS) {
    const plan = etcd.parsed('deploys', app)?.value.plan;
    if (plan !== undefined && etcd.parsed('plans', plan)?.value.settled === null)
      return `plan ${plan} still deploys ${app}`;
  }
  return null;
}

/** All that has been asked for and has arrived. */
function orders(cluster: SimCluster): string {
  const generations = APPS.map(app => cluster.etcd.parsed('apps', app)?.value.generation);
  return JSON.stringify([wanted(cluster), generations, underWay(cluster)]);
}

/** Faults and orders, one after the other, until a moment; what has not ended by then is left open. */
function attack(
  cluster: SimCluster,
  mode: SimMode,
  untilMs: number,
): { atMs: number; open: Set<() => void> } {
  const { timeline, chance } = cluster;
  const open = new Set<() => void>();
  const possible = [...faults, ...(mode === 'beyond' ? [suspension] : [])].filter(
    fault => mode !== 'store' || fault.storeOnly,
  );
  const everyMs = chance.pick([800, 2000, 5000]);
  const ordersShare = mode === 'store' ? 0 : chance.pick([0, 0.2, 0.4]);
  const next = (): void => {
    if (timeline.nowMs >= untilMs) return;
    if (chance.happens(ordersShare)) order(cluster);
    else hurt(cluster, weighted(possible, chance), open);
    timeline.after(chance.between(0, 2 * everyMs), next);
  };
  timeline.after(0, next);
  return { atMs: untilMs, open };
}

function hurt(cluster: SimCluster, fault: Fault, open: Set<() => void>): void {
  const { timeline, chance } = cluster;
  const node = chance.pick(cluster.nodes);
  const ttlMs = cluster.options.ttlSeconds * 1000;
  const begun = fault.begin({ cluster, chance, node, ttlMs });
  if (begun === null) return;
  timeline.tell(`FAULT ${begun.what} for ${Math.round(begun.lastsMs)} ms`);
  const end = (): void => {
    if (!open.delete(end)) return;
    timeline.tell(`over: ${begun.what}`);
    begun.end();
  };
  open.add(end);
  timeline.after(begun.lastsMs, end);
}

const APPS = ['shop', 'ledger'] as const;
const NAMES = ['feed', 'report'] as const;

/** For each name one program on each machine, and two on the first; and somebody who looks at it on each. */
function startPrograms(cluster: SimCluster): void {
  const { nodes, timeline, nameJudge: judge, options } = cluster;
  const chance = new Chance(options.seed ^ 0xa9e);
  for (const name of NAMES) {
    for (const [index, node] of [nodes[0]!, ...nodes].entries())
      new Program({ name, holder: `program-${index}`, node, timeline, chance, judge }).start();
    for (const node of nodes) startReader({ name, node, timeline, chance, judge });
  }
}

/** What people do: with whatever agent answers, and without looking at what becomes of it. */
function order(cluster: SimCluster): void {
  const { chance } = cluster;
  const app = chance.pick(APPS);
  const known = cluster.etcd.parsed('apps', app);
  if (!known || known.value.removing || chance.happens(0.3)) {
    apply(cluster, app);
    return;
  }
  const agent = awake(cluster)?.agent;
  if (!agent) return;
  const [process] = known.value.spec.processes;
  const type = process?.type ?? 'web';
  const orders = [
    () =>
      agent.admin.scale(app, {
        [type]: Math.min(mostOf(cluster, app), chance.whole(0, app === 'shop' ? 4 : 2)),
      }),
    () => agent.admin.scale(app, { [type]: Math.min(mostOf(cluster, app), chance.whole(1, 2)) }),
    () => agent.admin.restart(app, chance.happens(0.5) ? type : null),
    () => agent.admin.remove(app),
  ];
  const index = chance.whole(0, orders.length - 1);
  cluster.timeline.tell(`ORDER ${['scale', 'scale', 'restart', 'remove'][index] ?? ''} ${app}`);
  void orders[index]?.().catch(() => undefined);
}

function apply(cluster: SimCluster, app: (typeof APPS)[number]): void {
  const { chance, timeline } = cluster;
  const node = awake(cluster);
  if (!node?.agent) return;
  const content = `${app} ${chance.whole(1, 3)}`;
  // As after an upload: it is not the loss of sources that this is about.
  for (const other of cluster.nodes) other.artifacts.hold(content);
  const digest = node.artifacts.hold(content);
  const spec: AppSpec = { ...specOf(app, cluster), source: { kind: 'uploaded', digest } };
  timeline.tell(`ORDER apply ${app} to ${node.name}`);
  const telling = node.agent.admin.apply({ specs: [spec], ifGeneration: null }, new AbortController().signal);
  void (async () => {
    for await (const said of telling) if (said.kind !== 'step') timeline.tell(`${app} ${said.kind}`);
  })();
}

/** In half of all lives both apps want one fixed port in most of their releases. */
function shareAPort({ options: { seed } }: SimCluster): boolean {
  return seed % 2 === 0;
}

/** With no more instances than there are nodes, each finds one that has the port free. */
function mostOf(cluster: SimCluster, app: (typeof APPS)[number]): number {
  if (!shareAPort(cluster) || app === 'ledger') return Infinity;
  return cluster.nodes.length - 2;
}

/** `shop` is redundant. `ledger` is exclusive, though now and then somebody thinks otherwise. */
function specOf(app: (typeof APPS)[number], cluster: SimCluster): AppSpec {
  const { chance } = cluster;
  const exclusive = app === 'ledger' && chance.happens(0.95);
  const process = processSpec({
    type: exclusive ? 'writer' : app === 'ledger' ? 'writer' : 'web',
    scale: Math.min(mostOf(cluster, app), app === 'shop' ? chance.whole(1, 3) : chance.whole(1, 2)),
    exclusive,
    routed: app === 'shop' || chance.happens(0.5),
    stopTimeoutSeconds: app === 'ledger' ? 2 : 5,
  });
  return appSpec({
    app,
    hostnames: process.routed ? [`${app}.example.com`] : [],
    processes: [process],
    ports: shareAPort(cluster) && chance.happens(0.8) ? [{ number: 8448, protocol: 'tcp', name: null }] : [],
    restart: { policy: 'always', max: 1000 },
  });
}

function awake(cluster: SimCluster): SimNode | null {
  const able = cluster.nodes.filter(node => node.agent !== null && node.awake);
  return able.length === 0 ? null : cluster.chance.pick(able);
}

/** Each instance, at the version that it has when all that was asked for has come about. */
function wanted(cluster: SimCluster): WantedCopy[] {
  return [...cluster.etcd.contents('apps').values()].flatMap(({ value }) =>
    value.removing
      ? []
      : value.spec.processes.flatMap(process =>
          Array.from({ length: process.scale }, (_, index) => ({
            instance: instanceId({ app: value.app, process: process.type, index }),
            version: versionOfRelease(releaseState(value), process.type),
          })),
        ),
  );
}

function weighted(from: readonly Fault[], chance: Chance): Fault {
  let left = chance.float() * from.reduce((sum, fault) => sum + fault.weight, 0);
  return from.find(fault => (left -= fault.weight) < 0) ?? chance.pick(from);
}
