import { Metadata, status, type StatusObject } from '@grpc/grpc-js';
import { z } from 'zod';
import { AdminError } from '../ports/admin.ts';
import { ArtifactError } from '../ports/artifacts.ts';
import { StoreError } from '../ports/store.ts';
import { messages } from './descriptors.ts';
import { wireField } from './words.ts';

export interface FieldProblem {
  /** As the .proto names it. */
  field: string;
  message: string;
  hint: string | null;
}

/** A `no` with the status it is sent with. Its message is for the person who asked. */
export class RpcRefusal extends Error {
  readonly code: status;
  readonly problems: readonly FieldProblem[];
  constructor(code: status, message: string, problems: readonly FieldProblem[] = [], cause?: unknown) {
    super(message, { cause });
    this.name = 'RpcRefusal';
    this.code = code;
    this.problems = problems;
  }
}

/** The refusal an error stands for, or null when it is nobody's fault but ours. `conflict` = what a conflict is here. */
export function refusalOf(error: unknown, conflict = status.FAILED_PRECONDITION): RpcRefusal | null {
  if (error instanceof RpcRefusal) return error;
  if (error instanceof AdminError) {
    const code = error.kind === 'conflict' ? conflict : codeOfKind[error.kind];
    return new RpcRefusal(code, error.message, problemsIn(error.details), error);
  }
  if (error instanceof StoreError) {
    return new RpcRefusal(status.UNAVAILABLE, `the store can't be asked: ${error.message}`, [], error);
  }
  if (error instanceof ArtifactError) {
    const code = error.retryable ? status.UNAVAILABLE : status.FAILED_PRECONDITION;
    return new RpcRefusal(code, error.message, [], error);
  }
  return null;
}

/** With every problem as `google.rpc.BadRequest` in the trailer that clients look for. */
export function statusOf({ code, message, problems }: RpcRefusal): StatusObject {
  const metadata = new Metadata();
  if (problems.length > 0) metadata.set('grpc-status-details-bin', detailsOf(code, message, problems));
  return { code, details: message, metadata };
}

/** What a request says does not have the shape it should. */
export function shapeRefusal(error: z.ZodError, root = ''): RpcRefusal {
  const problems = error.issues.map(({ path, message }) => ({
    field: wireField(
      root + path.map(part => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`)).join(''),
    ).replace(/^\./, ''),
    message,
    hint: null,
  }));
  return invalid(problems);
}

function invalid(problems: FieldProblem[]): RpcRefusal {
  const [first, ...others] = problems;
  const more = others.length > 0 ? ` (and ${others.length} more)` : '';
  const message = first ? `${first.field}: ${first.message}${more}` : 'the request is not right';
  return new RpcRefusal(status.INVALID_ARGUMENT, message, problems);
}

const codeOfKind: Record<Exclude<AdminError['kind'], 'conflict'>, status> = {
  'not-found': status.NOT_FOUND,
  invalid: status.INVALID_ARGUMENT,
  unavailable: status.UNAVAILABLE,
  refused: status.PERMISSION_DENIED,
  full: status.RESOURCE_EXHAUSTED,
};

const planProblems = z.array(
  z.object({ field: z.string(), message: z.string(), hint: z.string().nullable().default(null) }),
);

/** Fields of a plan are fields of a request's `plan`. */
function problemsIn(details: Record<string, unknown>): FieldProblem[] {
  const { success, data } = planProblems.safeParse(details['problems']);
  if (!success) return [];
  return data.map(problem => ({ ...problem, field: `plan.${wireField(problem.field)}` }));
}

/** Trailers are small (8 KiB is usual): what does not fit is counted. */
const MOST_PROBLEMS = 50;

function detailsOf(code: status, message: string, problems: readonly FieldProblem[]): Buffer {
  const fieldViolations = problems.slice(0, MOST_PROBLEMS).map(({ field, message: what, hint }) => ({
    field,
    description: hint === null ? what : `${what}; ${hint}`,
  }));
  const left = problems.length - fieldViolations.length;
  if (left > 0) fieldViolations.push({ field: '', description: `and ${left} more` });
  const value = messages.badRequest.serialize({ fieldViolations });
  const detail = { typeUrl: 'type.googleapis.com/google.rpc.BadRequest', value };
  return messages.status.serialize({ code, message, details: [detail] });
}
