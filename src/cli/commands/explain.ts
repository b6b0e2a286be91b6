import { ApiError, type ApiClient } from '../../api/client.ts';
import type { EventView, Explanation } from '../../model/views.ts';
import type { CommandContext } from '../context.ts';
import { EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import type { Output } from '../output.ts';

/** Of a promise also its history from the ledger, and that when it stands no more. */
export async function explain({ api, out, io }: CommandContext, call: Invocation): Promise<number> {
  const about = call.argument(0);
  const client = await api();
  const [explained, history] = await Promise.all([
    client.explain(about, io.signal).catch(asNotFound),
    historyOf(client, about, io.signal),
  ]);
  if (explained instanceof ApiError && history === null) throw explained;
  const explanation = explained instanceof ApiError ? gone(about) : explained;
  out.answer(history === null ? explanation : { ...explanation, history }, () =>
    explanationText(explanation, history ?? [], out),
  );
  return EXIT.ok;
}

/** null = it is no promise that the ledger knows of. */
async function historyOf(client: ApiClient, about: string, signal: AbortSignal): Promise<EventView[] | null> {
  const [, node, name] = /^([^/]+)\/(.+)$/.exec(about) ?? [];
  if (node === undefined || name === undefined) return null;
  const found = await client.promise(node, name, signal).catch(asNotFound);
  return found instanceof ApiError ? null : found.history;
}

function asNotFound(error: unknown): ApiError {
  if (error instanceof ApiError && error.status === 404) return error;
  throw error;
}

function gone(about: string): Explanation {
  return { about, summary: 'is promised no more', lines: [], ranking: null };
}

function explanationText(
  { about, summary, lines, ranking }: Explanation,
  history: EventView[],
  out: Output,
): string {
  const text = [
    `${out.paint.bold(about)}: ${summary}`,
    ...lines.map(line => `  ${line.replaceAll('\n', '\n    ')}`),
  ];
  if (ranking !== null) text.push('', ...rankingLines(ranking, out));
  if (history.length > 0) text.push('', ...historyLines(history, out));
  return text.join('\n') + '\n';
}

function historyLines(history: EventView[], out: Output): string[] {
  const rows = history.map(({ at, node, kind, message }) => [out.when(at), node, kind, message]);
  return [out.table(['WHEN', 'TOLD BY', 'EVENT', 'MESSAGE'], rows).trimEnd()];
}

function rankingLines(ranking: NonNullable<Explanation['ranking']>, out: Output): string[] {
  const rows = ranking.candidates.map((candidate, index) => [
    String(index + 1),
    candidate.node,
    candidate.score.toFixed(3),
    candidate.reasons.join('; '),
  ]);
  const excluded = ranking.excluded.map(({ node, reason }) => ['-', node, '-', reason]);
  return [out.table(['RANK', 'NODE', 'SCORE', 'WHY'], [...rows, ...excluded]).trimEnd()];
}
