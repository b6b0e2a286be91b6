import { METHODS, validateHeaderName, validateHeaderValue } from 'node:http';
import type { PlanProblem, StepWork } from '../model/plan.ts';
import type { Blobs } from '../ports/blobs.ts';
import type { StepTask } from '../ports/step-agents.ts';
import type { HttpQuestion } from './http-exchange.ts';
import { parseStatuses } from './http-statuses.ts';
import { checkArguments, oneOf, wholeNumber, type ArgumentRules } from './step-arguments.ts';
import { FatalFailure } from './step-failure.ts';
import { checkPlaceholders, filledIn } from './step-inputs.ts';

const HEADER = /^headers?\.(.+)$/s;
/** Those that say where the body ends and whose connection it is, and those that are the step's own. */
const RESERVED =
  /^(connection|content-length|expect|fencing-token|hop3-.*|idempotency-key|keep-alive|te|trailer|transfer-encoding|upgrade)$/i;
/** Not shown to another server than the one they are for. */
const CONFIDENTIAL = /^(authorization|cookie|proxy-authorization)$/i;

const RULES: ArgumentRules = {
  method: aMethod,
  'http.method': aMethod,
  'expect-status': statuses,
  'retry-status': statuses,
  redirects: wholeNumber(0, 10),
  output: oneOf('body', 'none'),
};

/** Everything wrong with what is to be asked. */
export function checkHttp(work: StepWork, given?: ReadonlySet<number>): PlanProblem[] {
  const entries = Object.entries(work.arguments ?? {});
  const others = Object.fromEntries(entries.filter(([name]) => !HEADER.test(name)));
  const problems = checkArguments({ ...work, arguments: others }, RULES).map(problem => ({
    ...problem,
    hint: problem.hint?.startsWith('it has ') ? `${problem.hint}, header.NAME` : problem.hint,
  }));
  if (others['method'] !== undefined && others['http.method'] !== undefined) {
    problems.push({
      field: 'arguments.http.method',
      message: 'is given as method, too',
      hint: 'one of them is enough',
    });
  }
  for (const [name, value] of entries) {
    const header = HEADER.exec(name)?.[1];
    if (header === undefined) continue;
    const wrong = wrongWithHeader(header, value);
    if (wrong !== null) problems.push({ field: `arguments.${name}`, message: wrong, hint: null });
    problems.push(...checkPlaceholders(`arguments.${name}`, value, given));
  }
  return [...problems, ...checkAddress(work.resource, given)];
}

function checkAddress(text: string, given?: ReadonlySet<number>): PlanProblem[] {
  const url = URL.parse(text);
  if (url === null || !['http:', 'https:'].includes(url.protocol)) {
    const message = `"${text}" is not an address`;
    return [{ field: 'resource', message, hint: 'as in https://example.org/orders' }];
  }
  if (/^[^:]*:\/*[^/?#]*\{\{/.test(text)) {
    const message = 'whom to ask is up to the plan alone, not to what a step gave';
    return [{ field: 'resource', message, hint: 'placeholders are for what comes after the host' }];
  }
  return checkPlaceholders('resource', text, given);
}

function wrongWithHeader(name: string, value: string): string | null {
  if (RESERVED.test(name)) return 'is set by the agent itself';
  try {
    validateHeaderName(name);
    validateHeaderValue(name, value);
    return null;
  } catch {
    return 'is no header that can be sent';
  }
}

/** What is asked at first, with what steps before gave in its place. @throws FatalFailure, ArtifactError */
export async function questionOf(task: StepTask, blobs: Blobs, signal: AbortSignal): Promise<HttpQuestion> {
  const { work, payload } = task;
  const given = work.arguments ?? {};
  const address = await filledIn(work.resource, task, blobs, asPartOfAddress, signal);
  const url = URL.parse(address);
  if (url === null) throw new FatalFailure(`"${address}" is not an address`);
  const own: [name: string, value: string][] = [];
  for (const [name, value] of Object.entries(given)) {
    const header = HEADER.exec(name)?.[1];
    if (header === undefined) continue;
    own.push([header, await filledIn(value, task, blobs, text => asHeader(header, text), signal)]);
  }
  const typed = own.some(([name]) => name.toLowerCase() === 'content-type');
  const method = given['method'] ?? given['http.method'] ?? (payload === null ? 'GET' : 'POST');
  return {
    url,
    method: method.toUpperCase(),
    headers: {
      ...(payload === null || typed ? {} : { 'Content-Type': payload.mimeType }),
      'User-Agent': 'hop3-agent',
      ...Object.fromEntries(own),
      'Fencing-Token': task.token,
      'Idempotency-Key': task.idempotencyKey,
      'Hop3-Plan': task.plan,
      'Hop3-Step': String(task.index),
      'Hop3-Attempt': String(task.attempt),
    },
    body: payload?.bytes ?? null,
  };
}

/** What is asked next. @throws FatalFailure when nothing good can come of it */
export function redirected(question: HttpQuestion, status: number, location: string): HttpQuestion {
  const { url, method, headers } = question;
  const target = URL.parse(location, url.href);
  if (target === null || !['http:', 'https:'].includes(target.protocol)) {
    throw new FatalFailure(`it was redirected to "${location}", which is not an address`);
  }
  if (url.protocol === 'https:' && target.protocol === 'http:') {
    throw new FatalFailure(
      `it was redirected from https to ${target.href}, which anybody on the way can read`,
    );
  }
  if (!isSafe(method) && (status === 301 || status === 302)) {
    throw new FatalFailure(`${method} was answered with ${status} to ${target.href}: use that address`);
  }
  const kept = Object.entries(headers).filter(
    ([name]) => target.origin === url.origin || !CONFIDENTIAL.test(name),
  );
  // 303 tells where the result is, not where to do it again.
  if (status === 303 && !isSafe(method)) {
    const withoutType = kept.filter(([name]) => name.toLowerCase() !== 'content-type');
    return { url: target, method: 'GET', headers: Object.fromEntries(withoutType), body: null };
  }
  return { ...question, url: target, headers: Object.fromEntries(kept) };
}

/** To be asked any number of times. */
export function isSafe(method: string): boolean {
  return method === 'GET' || method === 'HEAD';
}

/** As one segment of the path or one value of the query: it can't change what the rest of the address means. */
function asPartOfAddress(value: string): string {
  if (!/^\.{0,2}$/.test(value)) return encodeURIComponent(value);
  throw new FatalFailure(`"${value}" can't be a part of an address`);
}

function asHeader(name: string, value: string): string {
  try {
    validateHeaderValue(name, value);
    return value;
  } catch {
    throw new FatalFailure(`what is to be the header ${name} can't be sent as one`);
  }
}

function aMethod(value: string): string | null {
  const known = METHODS.includes(value.toUpperCase()) && value.toUpperCase() !== 'CONNECT';
  return known ? null : 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, …';
}

function statuses(value: string): string | null {
  return parseStatuses(value) === null ? 'as in 2xx, 304, 410-412' : null;
}
