import type { Problem } from '../model/problem.ts';
import type { Paint } from './output.ts';
import { countText } from './words.ts';

/** All the problems, each with its place, and with the source line and a caret where the text is known. */
export function problemsText(
  problems: Problem[],
  sources: ReadonlyMap<string, string>,
  paint: Paint,
): string {
  const frames = problems.map(problem => frameText(problem, sources.get(problem.file) ?? null, paint));
  return [...frames, countText(problems.length, 'problem'), ''].join('\n');
}

function frameText(problem: Problem, source: string | null, paint: Paint): string {
  const place = problem.line > 0 ? `${problem.file}:${problem.line}:${problem.column}` : problem.file;
  const field = problem.field === '' ? '' : `${problem.field}: `;
  const lines = [`${paint.bold(place)}: ${paint.red('error')}: ${field}${problem.message}`];
  const line = problem.line > 0 ? sourceLine(source, problem.line) : null;
  if (line !== null) lines.push(...excerpt(line, problem.column, paint));
  if (problem.hint !== null) lines.push(`  ${paint.cyan('hint')}: ${problem.hint}`);
  return lines.join('\n');
}

function sourceLine(source: string | null, line: number): string | null {
  return source?.split(/\r\n|\n|\r/)[line - 1] ?? null;
}

const WIDTH = 100;

/** A line longer than a screen is cut around the column, so that the caret stays in sight. */
function excerpt(line: string, column: number, paint: Paint): string[] {
  const index = Math.min(Math.max(0, column - 1), line.length);
  const start = index > WIDTH - 20 ? index - WIDTH / 2 : 0;
  const text = line.slice(start, start + WIDTH);
  // Tabs stay tabs, so that the caret stands under what it means however wide they are shown.
  const indent = text.slice(0, index - start).replaceAll(/[^\t]/g, ' ');
  return [`  ${visible(text)}`, `  ${indent}${paint.red('^')}`];
}

/** A file may hold anything; a terminal should not obey it. */
function visible(text: string): string {
  return text.replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '\ufffd');
}
