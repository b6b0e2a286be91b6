import type { InstanceId, InstantMs, NodeName, Subject } from '../model/ids.ts';
import { heldHostnames } from '../model/rollout.ts';
import type { FreeInstance, PlaceableNode, Ranking } from '../model/placement.ts';
import { dueClaims, paced } from '../ownership/claims.ts';
import { rank } from '../placement/rank.ts';
import { placedOn } from '../placement/reservation.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Entry, Store } from '../ports/store.ts';
import { evidenceAgainst, leftover, saidAsBefore } from './evidence.ts';
import type { Crowd } from './crowd.ts';
import type { FixedPorts } from './fixed-ports.ts';
import type { Claim, Holdings, Taking } from './holdings.ts';
import { Loop } from './loop.ts';
import type { Refusals } from './refusals.ts';
import type { SessionKeeper } from './session-keeper.ts';
import { placementInputs, wantedOrWhyNot, type HeldDown, type WantedInstance } from './wanted.ts';
import type { World } from './world.ts';

/**
 * The best candidate claims at once, so this costs nothing unless it is dead and its session lives. Less than this and,
 * on a busy machine, the second takes what the first was about to.
 */
const STAGGER_MS = 400;
/** When a whole cluster starts and nobody has anything, the first node up waits this long for the others. */
const SETTLE_MS = 1500;
/** How long others leave to a node that is back what it had before, or is moved to it, and to one that is not back yet. */
const TAKES_AGAIN_MS = 3000;
const COMES_BACK_MS = 1000;
/**
 * How long the observers of a node whose session is gone have to say whether its instances still answer (rule 12): two
 * questions of a second each, and a second to write the verdict and have it read.
 */
const VERDICT_MS = 3000;
/** Older than this, the copy of the world is not good enough to decide who should have what. */
const TOO_STALE_MS = 10_000;

export interface ClaimLoopOptions {
  node: NodeName;
  world: World;
  store: Store;
  keeper: SessionKeeper;
  holdings: Holdings;
  clock: Clock;
  log: Log;
  refusals: Refusals;
  ports: FixedPorts;
  heldDown: HeldDown;
  crowd: Crowd;
}

/** Takes what is free and ranks this node first, or whose better candidates have let their turn pass. */
export function claimLoop(options: ClaimLoopOptions): Loop {
  const { world, keeper, clock, log } = options;
  const freeSinceMs = new Map<Subject, InstantMs>();

  return new Loop({
    name: 'claim',
    clock,
    log,
    everyMs: 5000,
    round: async () => {
      const session = keeper.current();
      if (!session || !world.synced() || world.staleMs() > TOO_STALE_MS) return 500;
      await options.holdings.discover(session, world.owners.all());
      await options.refusals.review(session);
      await options.ports.review(session);
      const inputs = placementInputs(world, options.heldDown, options.crowd.unsteady());
      const { free, nodes, placed } = withOwnClaims(options, inputs);
      const settlingMs = placed.length === 0 ? SETTLE_MS - keeper.sinceOpenedMs() : 0;
      if (settlingMs > 0) return settlingMs;
      keepTime(freeSinceMs, new Set(free.map(instance => instance.subject)), clock.now());
      const since = withHeadStarts(options, free, nodes, freeSinceMs);
      const braked = withBrake(options, rank(free, nodes, placed), since);
      const { now, wakeInMs } = dueClaims(
        braked.rankings,
        options.node,
        braked.freeSinceMs,
        clock.now(),
        STAGGER_MS,
      );
      await claimAll(options, now);
      await finishRemovals(options);
      const wakes = [
        wakeInMs,
        braked.wakeInMs,
        options.refusals.nextInMs(),
        ...inputs.heldDown.map(({ forMs }) => forMs),
      ];
      const next = Math.min(...wakes.map(each => each ?? Infinity));
      return Number.isFinite(next) ? next : null;
    },
  });
}

type Placement = Pick<ReturnType<typeof placementInputs>, 'free' | 'nodes' | 'placed'>;

/**
 * Own claims count from when they are made. Were they free until the mirror shows them, what is left would be shared out
 * anew among those that do not show yet, and this node take more than its share.
 */
function withOwnClaims({ node, holdings }: ClaimLoopOptions, { free, nodes, placed }: Placement): Placement {
  const held = holdings.held();
  const own = free.filter(({ subject }) => held.has(subject));
  return {
    nodes,
    free: free.filter(({ subject }) => !held.has(subject)),
    placed: [...placed, ...own.map(instance => placedOn(node, instance))],
  };
}

/**
 * A node whose session ran out runs its redundant instances on, and takes them again as soon as it is back: after an
 * outage of the store all nodes are in that state at once. It goes first, so that an outage moves nothing; a node that is
 * really gone has mostly been replaced on evidence before its session ended. What is exclusive has had its head start: in the
 * hold-down, which is longer (rules 3 and 7), only the node that had it may take it.
 */
function withHeadStarts(
  { node, world }: ClaimLoopOptions,
  free: FreeInstance[],
  nodes: PlaceableNode[],
  freeSinceMs: ReadonlyMap<Subject, InstantMs>,
): Map<Subject, InstantMs> {
  const present = new Set(nodes.map(other => other.node));
  const since = new Map(freeSinceMs);
  for (const { subject, instance, process, runsOn, movesTo } of free) {
    const [former] = runsOn;
    const sinceMs = freeSinceMs.get(subject);
    if (sinceMs !== undefined && movesTo !== undefined && movesTo !== node && present.has(movesTo)) {
      since.set(subject, sinceMs + TAKES_AGAIN_MS);
      continue;
    }
    if (process.exclusive || former === undefined || former === node || sinceMs === undefined) continue;
    const owner = world.owners.get(subject);
    if (owner && world.sessionLives(owner)) continue;
    since.set(subject, sinceMs + headStartMs(world, instance, owner, present.has(former)));
  }
  return since;
}

/** When many nodes went together, what they had is taken one after the other; what this node had itself at once. */
function withBrake(
  { crowd, world, node, clock }: ClaimLoopOptions,
  rankings: Ranking[],
  freeSinceMs: Map<Subject, InstantMs>,
): ReturnType<typeof paced> {
  const formerOf = (subject: Subject): NodeName | null => {
    const owner = world.owners.get(subject)?.value;
    return owner?.released === null ? owner.node : null;
  };
  crowd.wait(
    new Set(
      rankings.flatMap(({ subject, candidates }) => (candidates.length > 0 ? (formerOf(subject) ?? []) : [])),
    ),
  );
  const pace = crowd.pace();
  if (pace === null) return { rankings, freeSinceMs, wakeInMs: null };
  const isTakeover = (subject: Subject): boolean => ![null, node].includes(formerOf(subject));
  return paced(rankings, freeSinceMs, isTakeover, pace, clock.now());
}

function headStartMs(
  world: World,
  instance: InstanceId,
  owner: Entry<'owners'> | undefined,
  isBack: boolean,
): number {
  if (isBack) return TAKES_AGAIN_MS;
  const wanted = wantedOrWhyNot(world, instance);
  if (!owner || 'notWanted' in wanted) return COMES_BACK_MS;
  return leftover(world, owner, wanted) === 'asked' ? VERDICT_MS : COMES_BACK_MS;
}

async function claimAll(options: ClaimLoopOptions, rankings: Ranking[]): Promise<void> {
  const { world, keeper, holdings, refusals, crowd, node } = options;
  const session = keeper.current();
  if (!session) return;
  const refused: Promise<unknown>[] = [];
  const claims: Claim[] = [];
  for (const ranking of rankings) {
    const wanted = wantedOrWhyNot(world, ranking.instance);
    if (holdings.held().has(ranking.subject) || 'notWanted' in wanted) continue;
    const refusal = refusals.why(wanted, session);
    if (refusal === null) claims.push(claimOn(options, ranking, wanted));
    else refused.push(refusals.tell(wanted, session, refusal));
  }
  const [taken] = await Promise.all([holdings.acquireAll(claims, session), ...refused]);
  for (const { subject, known } of claims) {
    const fromAnother = known?.value.released === null && known.value.node !== node;
    if (fromAnother && taken.has(subject)) crowd.noteTakeover();
  }
}

function claimOn({ world, node, ports }: ClaimLoopOptions, ranking: Ranking, wanted: WantedInstance): Claim {
  const place = ranking.candidates.findIndex(candidate => candidate.node === node);
  const candidate = ranking.candidates[place];
  const reason = candidate
    ? `ranked ${place + 1} of ${ranking.candidates.length} (${candidate.reasons.join('; ')})`
    : 'ranked';
  const known = world.owners.get(ranking.subject);
  const owned = known?.value.released === null ? known : null;
  const { exclusive } = wanted.process;
  const { compares, writes } = ports.taking(wanted);
  const taking: Taking = { exclusive, compares, writes };
  if (owned && !exclusive) {
    if (world.sessionLives(owned))
      taking.evidence = evidenceAgainst(world, owned.value.node, ranking.instance);
    else if (owned.value.node !== node) compares.push(...saidAsBefore(world, owned, ranking.instance));
  }
  return { subject: ranking.subject, known, reason, taking };
}

/** Remembers since when each subject has been free, as this node saw it. */
function keepTime(freeSinceMs: Map<Subject, InstantMs>, free: ReadonlySet<Subject>, nowMs: InstantMs): void {
  for (const subject of freeSinceMs.keys()) if (!free.has(subject)) freeSinceMs.delete(subject);
  for (const subject of free) if (!freeSinceMs.has(subject)) freeSinceMs.set(subject, nowMs);
}

/** Owner keys of a removed app in one transaction; the app goes with the last of them. */
const PRUNED_AT_ONCE = 60;

/** An app that is being removed, and of which no live session owns anything, goes, with the names it held. */
async function finishRemovals({ world, store }: ClaimLoopOptions): Promise<void> {
  const live = world.liveIncarnations();
  for (const app of world.apps.all().filter(entry => entry.value.removing)) {
    const owned = world.owners.all().filter(entry => entry.name.startsWith(`instance/${app.name}/`));
    const busy = owned.some(
      ({ value }) => value.released === null && live.has(`${value.node}/${value.incarnation}`),
    );
    if (busy) continue;
    const released = owned.filter(
      entry => entry.value.released !== null && entry.value.mayStillRun.length === 0,
    );
    const prunable = released.slice(0, PRUNED_AT_ONCE);
    const last = prunable.length === released.length;
    await store.commit(
      [
        { kind: 'apps', name: app.name, revision: app.revision },
        ...prunable.map(entry => ({ kind: 'owners' as const, name: entry.name, revision: entry.revision })),
      ],
      [
        ...(last ? [{ delete: 'apps' as const, name: app.name }] : []),
        ...(last
          ? heldHostnames(app.value).map(hostname => ({ delete: 'hostnames' as const, name: hostname }))
          : []),
        ...prunable.map(entry => ({ delete: 'owners' as const, name: entry.name })),
      ],
    );
  }
}
