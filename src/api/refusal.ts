import { STATUS_CODES } from 'node:http';
import type { z } from 'zod';
import { explained } from '../manifest/issues.ts';
import { fieldOf } from '../manifest/tree.ts';
import type { PlanProblem } from '../model/plan.ts';
import type { Problem } from '../model/problem.ts';
import { AdminError } from '../ports/admin.ts';
import { ArtifactError } from '../ports/artifacts.ts';
import { StoreError } from '../ports/store.ts';
import { jsonMistake } from './json-mistake.ts';
import type { ProblemDetails } from './wire.ts';

/** A `no` with the status it is sent with. Its message is for the person who asked. */
export class Refusal extends Error {
  readonly status: number;
  readonly kind: string;
  readonly extensions: Record<string, unknown>;
  readonly headers: Record<string, string>;
  constructor(
    status: number,
    kind: string,
    message: string,
    more: { extensions?: Record<string, unknown>; headers?: Record<string, string>; cause?: unknown } = {},
  ) {
    super(message, { cause: more.cause });
    this.name = 'Refusal';
    this.status = status;
    this.kind = kind;
    this.extensions = more.extensions ?? {};
    this.headers = more.headers ?? {};
  }
}

/** The refusal an error stands for, or null when it is nobody's fault but ours. */
export function refusalOf(error: unknown): Refusal | null {
  if (error instanceof Refusal) return error;
  if (error instanceof AdminError) {
    const { kind, message, details, cause } = error;
    const { problems, ...rest } = details;
    const extensions = { ...rest, ...(Array.isArray(problems) && { problems: problems.map(inBody) }) };
    return new Refusal(statusOfKind[kind], kind, message, { extensions, headers: askAgain(kind), cause });
  }
  if (error instanceof StoreError) {
    return new Refusal(503, 'unavailable', `the store can't be asked: ${error.message}`, {
      headers: askAgain('unavailable'),
      cause: error,
    });
  }
  if (error instanceof ArtifactError) {
    const status = error.retryable ? 503 : 422;
    return new Refusal(status, 'artifact', error.message, {
      extensions: { output: error.output },
      cause: error,
    });
  }
  return refusalOfBody(error);
}

/** The RFC 9457 document. What the extensions say never hides the five standard fields. */
export function problemDetailsOf(refusal: Refusal): ProblemDetails {
  return {
    ...refusal.extensions,
    type: `urn:hop3-agent:${refusal.kind}`,
    title: STATUS_CODES[refusal.status] ?? 'Error',
    status: refusal.status,
    detail: refusal.message,
  };
}

/**
 * What a request carries does not have the shape it should; the error has the input with it (`reportInput`). `more` = what is wrong
 * with the rest of it: of a step that has the wrong shape itself that would only be what follows from it.
 */
export function shapeRefusal(
  status: 400 | 422,
  what: string,
  schema: z.ZodType,
  error: z.ZodError,
  more: PlanProblem[] = [],
): Refusal {
  const unknown = status === 400 ? 'unknown parameter' : 'unknown key';
  const shape = explained(schema, error, unknown).map(({ path, message, hint }) => ({
    ...problemAt(fieldOf(path), message),
    hint,
  }));
  const told = new Set(shape.map(({ field }) => placeOf(field)));
  const problems = [...shape, ...more.filter(({ field }) => !told.has(placeOf(field))).map(inBody)];
  const first = problems[0];
  const detail = first === undefined ? what : `${what}: ${first.field}${first.field && ': '}${first.message}`;
  const others = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
  return new Refusal(status, 'invalid', detail + others, { extensions: { problems } });
}

/** The step, or else the field. */
function placeOf(field: string): string {
  return /^\w+\[\d+\]/.exec(field)?.[0] ?? field;
}

function problemAt(field: string, message: string, line = 0, column = 0): Problem {
  return { file: '<body>', line, column, field, message, hint: null };
}

/** What is wrong with a plan has a field, and no other place. */
function inBody(problem: Problem | PlanProblem): Problem {
  return { file: '<body>', line: 0, column: 0, ...problem };
}

/** Of what is only so for the moment. */
function askAgain(kind: AdminError['kind']): Record<string, string> {
  if (kind === 'full') return { 'retry-after': '5' };
  return kind === 'unavailable' ? { 'retry-after': '2' } : {};
}

const statusOfKind: Record<AdminError['kind'], number> = {
  'not-found': 404,
  conflict: 409,
  invalid: 422,
  unavailable: 503,
  refused: 403,
  full: 429,
};

/** Errors of the body reader and of the router carry the status themselves (the http-errors convention). */
function refusalOfBody(error: unknown): Refusal | null {
  if (!(error instanceof Error) || !('status' in error) || typeof error.status !== 'number') return null;
  const { status, message } = error;
  if (status < 400 || status > 499) return null;
  if (status === 413) return new Refusal(413, 'too-large', 'the body is larger than this route takes');
  if (error instanceof SyntaxError) return malformedJson(error);
  return new Refusal(status, 'bad-request', message, { cause: error });
}

function malformedJson(error: SyntaxError & { body?: unknown }): Refusal {
  const text = typeof error.body === 'string' ? error.body : '';
  const offset = jsonMistake(text);
  // JSON all the same, but not what we take: a bare value, or a key that would poison an object.
  if (offset === null) return new Refusal(400, 'malformed', `the body is refused: ${error.message}`);
  const before = text.slice(0, offset).split('\n');
  const [line, column] = [before.length, (before.at(-1)?.length ?? 0) + 1];
  const message = offset === text.length ? 'ends too early' : `unexpected ${JSON.stringify(text[offset])}`;
  return new Refusal(400, 'malformed', `the body is not JSON: line ${line}, column ${column}: ${message}`, {
    extensions: { problems: [problemAt('', message, line, column)] },
    cause: error,
  });
}
