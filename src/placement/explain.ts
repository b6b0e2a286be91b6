import type { Ranking } from '../model/placement.ts';

/** A ranking in words, one line a node: who could take it, best first, then who cannot and why. */
export function explain(ranking: Ranking): string[] {
  const { instance, candidates, excluded } = ranking;
  if (candidates.length === 0 && excluded.length === 0) return [`${instance}: there are no nodes`];
  const lines = candidates.map(
    ({ node, score, reasons }, index) =>
      `${index + 1}. ${node}, score ${score.toFixed(2)}: ${reasons.join(', ')}`,
  );
  if (lines.length === 0) lines.push(`no node can take ${instance}`);
  return [...lines, ...excluded.map(({ node, reason }) => `not ${node}: ${reason}`)];
}

/** What each node has against an instance, in one line; null = there are no nodes that could have something. */
export function whyNowhere({ excluded }: Ranking): string | null {
  return excluded.length === 0 ? null : excluded.map(({ node, reason }) => `${node} ${reason}`).join('; ');
}
