import { readFile } from 'node:fs/promises';
import type { Store } from '../../src/ports/store.ts';
import { until } from '../support/until.ts';
import { AcknowledgedWrites } from './acknowledged.ts';
import type { Combination } from './matrix.ts';
import { monotonicMs } from './monotonic.ts';
import { Register } from './register.ts';
import { acceptedWrongly } from './resource.ts';
import { SharedName } from './shared-name.ts';
import { becameOf, handovers, tokenTrouble, type Span } from './spans.ts';
import { TARGET, WRITERS, type World } from './world.ts';

export interface Row {
  who: string;
  what: string;
  cycles: number;
  overlaps: number;
  smallestGapMs: number | null;
  /** Writes under an old token, which the resource refused. */
  staleAttempts: number;
  /** From the fault to the first sign of a successor elsewhere; null = it stayed. */
  takeoverMs: number | null;
  acknowledged: number;
  registerOperations: number;
  staleReads: number;
  /** How often a program was given the name that all want, and what they asked of its state. */
  nameGrants: number;
  nameOperations: number;
  nameStaleAttempts: number;
  /** Of nodes that nothing was wrong with. */
  healthyRevoked: number;
  seconds: number;
  trouble: string[];
}

let runs = 0;

/** One combination, once: the workload goes on beside it, and the history is judged when all is well again. */
export async function runOnce(world: World, combination: Combination): Promise<Row> {
  const startedMs = monotonicMs();
  const run = `${process.pid}-${++runs}`;
  const clients = world.nodes.map(node => world.storeBeside(node));
  world.forgetSigns();
  world.resource.staleAttempts();
  const before = await webRuns(world);
  const revokedBefore = await revoked(world);
  const acknowledged = new AcknowledgedWrites(world.nodes, await world.source(), run);
  const register = new Register(clients, run);
  const shared = (world.sharedName = new SharedName(world.nodes, `feed-${run}`));
  let beganMs = startedMs;
  let broke: string | null = null;
  try {
    // What is not seen at work before it is broken can't be said to have been taken over.
    await until('both writers are at work', () => WRITERS.every(writer => isAtWork(world, writer)));
    await shared.givenSince(startedMs);
    await combination.run(world, () => (beganMs = monotonicMs()));
    await world.healed();
    await shared.givenSince(monotonicMs());
  } catch (error) {
    broke = (error as Error).message;
  }
  const { store } = world.watcher;
  const [written, verdict, named] = await Promise.all([
    acknowledged.end(store),
    register.end(),
    shared.end(store),
  ]);
  const spans = world.spans();
  const { overlaps, smallestGapMs } = handovers(spans);
  const staleAttempts = world.resource.staleAttempts();
  const wronglyAccepted = acceptedWrongly(world.resource.accepted, world.watcher.owners);
  const moved = spans.filter(span => {
    const first = spans.find(({ instance }) => instance === span.instance)!;
    return span.node !== first.node && span.firstMs > beganMs;
  });
  const after = broke === null ? await webRuns(world) : before;
  const restarted = [...before].filter(each => !after.has(each));
  const healthyRevoked = (await revoked(world)) - revokedBefore;
  await tidied(world, clients);
  const trouble = [
    ...(broke === null ? [] : [broke]),
    ...written.lost.map(what => `acknowledged and lost: ${what}`),
    ...world.watcher.tokenTrouble(),
    ...wronglyAccepted.map(what => `accepted: ${what}`),
    ...(verdict.trouble !== null && !(verdict.staleReads && combination.pausesEtcd === true)
      ? [verdict.trouble]
      : []),
    ...named.fenced,
    ...(combination.pausesEtcd === true ? [] : named.read),
    ...(combination.judged === 'everything'
      ? [...overlaps.map(each => `overlap: ${each}`), ...tokenTrouble(spans), ...named.unfenced]
      : []),
    ...(combination.keepsTokens === true && new Set(spans.map(({ token }) => token)).size > WRITERS.length
      ? ['an agent that was back in time lost what it owned']
      : []),
    ...(broke === null ? notAsMeant(combination, spans, shared, beganMs) : []),
    ...(combination.judged === 'everything' && combination.mayMove !== true && restarted.length > 0
      ? [`redundant instances were restarted: ${restarted.join(', ')}`]
      : []),
  ];
  return {
    who: combination.who,
    what: combination.what,
    cycles: 1,
    overlaps: overlaps.length + named.overlaps,
    smallestGapMs,
    staleAttempts,
    takeoverMs: moved.length === 0 ? null : Math.max(...moved.map(({ firstMs }) => firstMs)) - beganMs,
    acknowledged: written.count,
    registerOperations: verdict.operations,
    staleReads: verdict.staleReads ? 1 : 0,
    nameGrants: named.grants,
    nameOperations: named.operations,
    nameStaleAttempts: named.staleAttempts,
    healthyRevoked,
    seconds: (monotonicMs() - startedMs) / 1000,
    trouble,
  };
}

/** Of a combination that could not be tried. */
export function brokenRow({ who, what }: Combination, error: unknown): Row {
  return {
    who,
    what,
    cycles: 1,
    overlaps: 0,
    smallestGapMs: null,
    staleAttempts: 0,
    takeoverMs: null,
    acknowledged: 0,
    registerOperations: 0,
    staleReads: 0,
    nameGrants: 0,
    nameOperations: 0,
    nameStaleAttempts: 0,
    healthyRevoked: 0,
    seconds: 0,
    trouble: [`it could not be tried: ${(error as Error).message}`],
  };
}

/** Several cycles of one combination as one row. */
export function together(a: Row, b: Row): Row {
  const sum = (key: keyof Row): number => Number(a[key]) + Number(b[key]);
  const either = (pick: (...of: number[]) => number, x: number | null, y: number | null): number | null =>
    x === null || y === null ? (x ?? y) : pick(x, y);
  return {
    ...a,
    cycles: sum('cycles'),
    overlaps: sum('overlaps'),
    smallestGapMs: either(Math.min, a.smallestGapMs, b.smallestGapMs),
    staleAttempts: sum('staleAttempts'),
    takeoverMs: either(Math.max, a.takeoverMs, b.takeoverMs),
    acknowledged: sum('acknowledged'),
    registerOperations: sum('registerOperations'),
    staleReads: sum('staleReads'),
    nameGrants: sum('nameGrants'),
    nameOperations: sum('nameOperations'),
    nameStaleAttempts: sum('nameStaleAttempts'),
    healthyRevoked: sum('healthyRevoked'),
    seconds: sum('seconds'),
    trouble: [...a.trouble, ...b.trouble],
  };
}

/** Whether a row has shown what may take several runs to show. */
export function shown({ mustShow }: Combination, row: Row): boolean {
  return mustShow !== 'stale attempts' || row.staleAttempts > 0;
}

function isAtWork(world: World, writer: string): boolean {
  return world.spans().some(({ instance }) => instance === writer);
}

/** The fault was in force, and had no effect: then it proves nothing. */
function notAsMeant(
  { mustBe, nameMustMove }: Combination,
  spans: Span[],
  shared: SharedName,
  beganMs: number,
): string[] {
  const { takenOver } = becameOf(shared.spans(), `agent/${shared.name}`, beganMs);
  if (nameMustMove === true && !takenOver) return [`${shared.name} was not taken over: nothing is proved`];
  const became = becameOf(spans, TARGET, beganMs);
  if (mustBe === undefined || (mustBe === 'taken over' ? became.takenOver : became.runAnew)) return [];
  const lived = spans.filter(({ instance }) => instance === TARGET).map(span => inWords(span, beganMs));
  return [`${TARGET} was not ${mustBe}: nothing is proved: ${lived.join(', ')}`];
}

function inWords({ node, firstMs, lastMs }: Span, beganMs: number): string {
  return `on ${node} from ${Math.round(firstMs - beganMs)} to ${Math.round(lastMs - beganMs)} ms`;
}

/** Which runs of redundant instances there are. */
async function webRuns(world: World): Promise<Set<string>> {
  const found = await world.instances('shop');
  return new Set(found.map(({ instance, node, pid }) => `${instance} at ${node ?? '-'} as ${pid ?? '-'}`));
}

/** How often agents said that a session ended which they had renewed in time. */
async function revoked({ nodes }: World): Promise<number> {
  const logs = await Promise.all(nodes.map(node => readFile(node.logFile, 'utf8')));
  return logs
    .flatMap(text => text.split('\n'))
    .filter(line => line.includes('the session is lost') && !line.includes('could not be renewed')).length;
}

/** What the run left in the store, so that no run is slower than the one before. */
async function tidied(world: World, clients: Store[]): Promise<void> {
  for (const client of clients) await client.close();
  for (const kind of ['apps', 'releases'])
    await world.etcd.ctl('del', '--prefix', `/hop3/test/${kind}/mark-`);
}
