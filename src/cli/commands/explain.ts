import type { Explanation } from '../../model/views.ts';
import type { CommandContext } from '../context.ts';
import { EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import type { Output } from '../output.ts';

export async function explain({ api, out, io }: CommandContext, call: Invocation): Promise<number> {
  const explanation = await (await api()).explain(call.argument(0), io.signal);
  out.answer(explanation, () => explanationText(explanation, out));
  return EXIT.ok;
}

function explanationText({ about, summary, lines, ranking }: Explanation, out: Output): string {
  const text = [
    `${out.paint.bold(about)}: ${summary}`,
    ...lines.map(line => `  ${line.replaceAll('\n', '\n    ')}`),
  ];
  if (ranking !== null) text.push('', ...rankingLines(ranking, out));
  return text.join('\n') + '\n';
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
