/** One thing wrong with something a person wrote: what, where, and what would be right. */
export interface Problem {
  /** The file's name as the person gave it; `<input>` when there is none. */
  file: string;
  /** Both 1-based; 0 when the problem is with the file as a whole. */
  line: number;
  column: number;
  /** Dotted path such as `run.workers.mailer`, empty for the document itself. */
  field: string;
  message: string;
  /** What would be right, when that can be said. */
  hint: string | null;
  /** Present when somebody else has what is asked for: nothing is wrong with the text itself. */
  conflict?: true | undefined;
}

/** `file:line:column: field: message (hint)`. */
export function problemText(problem: Problem): string {
  const place = problem.line > 0 ? `:${problem.line}:${problem.column}` : '';
  const field = problem.field === '' ? '' : `${problem.field}: `;
  const hint = problem.hint === null ? '' : ` (${problem.hint})`;
  return `${problem.file}${place}: ${field}${problem.message}${hint}`;
}
