import type { Candidate, FreeInstance, PlaceableNode, PlacedInstance, Ranking } from '../model/placement.ts';
import { rendezvousOrder } from '../model/rendezvous.ts';
import { exclusion } from './filter.ts';
import { placedOn } from './reservation.ts';
import { score } from './score.ts';
import { Usage } from './usage.ts';

/**
 * Who could take each free instance, best first. Every node that sees the same computes the same, whatever order it
 * sees it in: instances are ranked in subject order, and each is assumed placed on its best node before the next.
 *
 * Before any score counts: the node that it is being moved to, then a node that already runs the instance, then the value of the
 * spread label with the fewest copies. Ties go by rendezvous hash.
 */
export function rank(free: FreeInstance[], nodes: PlaceableNode[], placed: PlacedInstance[]): Ranking[] {
  const members = [...nodes].sort((a, b) => compareText(a.node, b.node));
  const usage = new Usage(placed);
  const inOrder = [...free].sort((a, b) => compareText(a.subject, b.subject));
  return inOrder.map(instance => {
    const ranking = rankOne(instance, members, usage);
    const best = ranking.candidates[0];
    if (best) {
      usage.add(placedOn(best.node, instance));
    }
    return ranking;
  });
}

interface Ranked extends Candidate {
  movesHere: boolean;
  runsIt: boolean;
  copiesOverLabel: number;
}

function rankOne(free: FreeInstance, nodes: PlaceableNode[], usage: Usage): Ranking {
  const candidates: Ranked[] = [];
  const excluded: Ranking['excluded'] = [];
  const groups = copiesByLabelValue(free, nodes, usage);
  for (const node of nodes) {
    const reason = exclusion(free, node, usage);
    if (reason !== null) excluded.push({ node: node.node, reason });
    else candidates.push(candidate(free, node, usage, groups));
  }
  setAsideUnsteady(nodes, candidates, excluded);
  const tieBreak = rendezvousRanks(
    free.subject,
    candidates.map(({ node }) => node),
  );
  candidates.sort(
    (a, b) =>
      Number(b.movesHere) - Number(a.movesHere) ||
      Number(b.runsIt) - Number(a.runsIt) ||
      a.copiesOverLabel - b.copiesOverLabel ||
      b.score - a.score ||
      (tieBreak.get(a.node) ?? 0) - (tieBreak.get(b.node) ?? 0),
  );
  return {
    instance: free.instance,
    subject: free.subject,
    candidates: candidates.map(({ node, score, reasons }) => ({ node, score, reasons })),
    excluded,
  };
}

/**
 * What comes and goes gets nothing new, so that nothing moves each time. Unless nobody else can take it; and what it had
 * last it may take again, which moves nothing.
 */
function setAsideUnsteady(nodes: PlaceableNode[], candidates: Ranked[], excluded: Ranking['excluded']): void {
  const unsteady = new Map(
    nodes.flatMap(({ node, unsteady: why }) => (why === undefined ? [] : [[node, why]])),
  );
  const good = candidates.filter(({ node, runsIt }) => runsIt || !unsteady.has(node));
  if (good.length === 0) return;
  for (const { node } of candidates
    .splice(0, candidates.length, ...good)
    .filter(each => !good.includes(each)))
    excluded.push({ node, reason: unsteady.get(node) ?? '' });
}

function candidate(
  free: FreeInstance,
  node: PlaceableNode,
  usage: Usage,
  groups: ReadonlyMap<string | undefined, number>,
): Ranked {
  const { score: points, reasons } = score(free, node, usage);
  const label = free.spec.placement.spread;
  const value = label === null ? undefined : node.labels[label];
  const copiesOverLabel = label === null ? 0 : (groups.get(value) ?? 0);
  if (label !== null) {
    const where = value === undefined ? 'not set' : `"${value}"`;
    reasons.unshift(`${copiesOverLabel} others where ${label} is ${where} (fewest first)`);
  }
  const runsIt = free.runsOn.includes(node.node);
  if (runsIt) reasons.unshift('before others: runs it or had it last');
  const movesHere = free.movesTo === node.node;
  if (movesHere) reasons.unshift('before others: it is being moved there');
  return { node: node.node, score: points, reasons, movesHere, runsIt, copiesOverLabel };
}

/** Copies of the process type by value of the spread label; nodes without the label are one group. */
function copiesByLabelValue(
  free: FreeInstance,
  nodes: PlaceableNode[],
  usage: Usage,
): Map<string | undefined, number> {
  const label = free.spec.placement.spread;
  const groups = new Map<string | undefined, number>();
  if (label === null) return groups;
  for (const node of nodes) {
    const value = node.labels[label];
    groups.set(value, (groups.get(value) ?? 0) + usage.copiesOfProcess(free, node));
  }
  return groups;
}

function rendezvousRanks(subject: string, nodes: string[]): Map<string, number> {
  return new Map(rendezvousOrder(subject, nodes).map((node, index) => [node, index]));
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
