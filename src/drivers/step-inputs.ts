import { isUtf8 } from 'node:buffer';
import type { PlanProblem, StepOutput, StepWork } from '../model/plan.ts';
import type { Blobs } from '../ports/blobs.ts';
import type { StepTask } from '../ports/step-agents.ts';
import { FatalFailure } from './step-failure.ts';

const PAYLOAD_FROM = 'payload-from';
/** `3`, or what is at a place in the JSON that step 3 gave, as in `3.items.0.id`. */
const REFERENCE = /^(\d{1,5})((?:\.[^.{}]+)*)$/;
const PLACEHOLDER = /\{\{\s*([^{}]*?)\s*\}\}/g;

/** Everything wrong with the argument that any agent takes: whose output is to be the payload. */
export function checkPayloadFrom(
  { arguments: texts, payload }: StepWork,
  given?: ReadonlySet<number>,
): PlanProblem[] {
  const text = texts?.[PAYLOAD_FROM];
  if (text === undefined) return [];
  const field = `arguments.${PAYLOAD_FROM}`;
  if (!REFERENCE.test(text)) {
    return [
      { field, message: `"${text}" names no output`, hint: 'the index of a step, as in 3 or 3.items.0.id' },
    ];
  }
  const missing = notGiven(field, text, given);
  if (payload === undefined) return missing;
  return [
    ...missing,
    { field, message: 'the step has a payload of its own', hint: 'leave out one of the two' },
  ];
}

function notGiven(field: string, reference: string, given?: ReadonlySet<number>): PlanProblem[] {
  const index = Number(REFERENCE.exec(reference)?.[1]);
  if (given === undefined || given.has(index)) return [];
  const message = `"${reference}" is an output of step ${index}, on which the step does not depend`;
  return [{ field, message, hint: 'let it depend on that step' }];
}

/** Whether its payload is to be another step's output. */
export function takesPayload({ arguments: given }: StepWork): boolean {
  return given?.[PAYLOAD_FROM] !== undefined;
}

/** The work as its agent is to see it. */
export function withoutPayloadFrom<W extends StepWork>(work: W): W {
  const others = Object.entries(work.arguments ?? {}).filter(([name]) => name !== PAYLOAD_FROM);
  return { ...work, arguments: Object.fromEntries(others) };
}

/** The task with another step's output as its payload. @throws FatalFailure, ArtifactError */
export async function withPayload(task: StepTask, blobs: Blobs, signal: AbortSignal): Promise<StepTask> {
  const reference = task.work.arguments?.[PAYLOAD_FROM] ?? '';
  const bytes = await referred(task, reference, blobs, signal);
  const payload = { mimeType: mimeTypeOf(bytes), bytes };
  return { ...task, work: withoutPayloadFrom(task.work), payload };
}

/** Everything wrong with the placeholders in a text, as in `/orders/{{3.id}}`. */
export function checkPlaceholders(field: string, text: string, given?: ReadonlySet<number>): PlanProblem[] {
  return [...text.matchAll(PLACEHOLDER)].flatMap(([whole, reference = '']) =>
    REFERENCE.test(reference)
      ? notGiven(field, reference, given)
      : [{ field, message: `"${whole}" names no output`, hint: 'as in {{3}} or {{3.items.0.id}}' }],
  );
}

/** The text with every placeholder replaced by what `quote` makes of the value. @throws FatalFailure, ArtifactError */
export async function filledIn(
  text: string,
  task: StepTask,
  blobs: Blobs,
  quote: (value: string) => string,
  signal: AbortSignal,
): Promise<string> {
  const parts: string[] = [];
  let from = 0;
  for (const match of text.matchAll(PLACEHOLDER)) {
    const bytes = await referred(task, match[1] ?? '', blobs, signal);
    parts.push(text.slice(from, match.index), quote(Buffer.from(bytes).toString('utf8')));
    from = match.index + match[0].length;
  }
  return [...parts, text.slice(from)].join('');
}

/** A step's output as bytes: text as it is, anything else as JSON. @throws ArtifactError */
export async function bytesOf(output: StepOutput, blobs: Blobs, signal: AbortSignal): Promise<Uint8Array> {
  if ('digest' in output) return blobs.get(output.digest, signal);
  return Buffer.from(textOf(output.value));
}

async function referred(
  { inputs }: StepTask,
  reference: string,
  blobs: Blobs,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const [, index = '', path = ''] = REFERENCE.exec(reference) ?? [];
  const output = inputs.get(Number(index));
  if (output === undefined) {
    throw new FatalFailure(`step ${index} gave nothing, or this one does not depend on it`);
  }
  const bytes = await bytesOf(output, blobs, signal);
  if (path === '') return bytes;
  const value = path
    .slice(1)
    .split('.')
    .reduce((whole, key) => memberOf(whole, key), jsonOf(bytes, index));
  if (value === undefined || value === null) {
    throw new FatalFailure(`what step ${index} gave has nothing at ${path.slice(1)}`);
  }
  if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value)) {
    throw new FatalFailure(
      `the number that step ${index} gave at ${path.slice(1)} is too long to be read without loss`,
    );
  }
  return Buffer.from(textOf(value));
}

function jsonOf(bytes: Uint8Array, index: string): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    throw new FatalFailure(`what step ${index} gave is not JSON`);
  }
}

function memberOf(whole: unknown, key: string): unknown {
  if (typeof whole !== 'object' || whole === null || !Object.hasOwn(whole, key)) return undefined;
  return (whole as Record<string, unknown>)[key];
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** By the bytes alone, so that it is the same however long they are. */
function mimeTypeOf(bytes: Uint8Array): string {
  if (!isUtf8(bytes)) return 'application/octet-stream';
  const text = Buffer.from(bytes).toString('utf8');
  if (!/^\s*[[{]/.test(text)) return 'text/plain; charset=utf-8';
  try {
    JSON.parse(text);
    return 'application/json';
  } catch {
    return 'text/plain; charset=utf-8';
  }
}
