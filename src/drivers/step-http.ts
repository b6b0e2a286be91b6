import type { IncomingMessage } from 'node:http';
import type { StepResult, StepWork } from '../model/plan.ts';
import type { Blobs } from '../ports/blobs.ts';
import type { Clock } from '../ports/clock.ts';
import type { StepAgent, StepTask } from '../ports/step-agents.ts';
import { readBody, type HttpPool } from './http-exchange.ts';
import { checkHttp, isSafe, questionOf, redirected } from './http-question.ts';
import { parseStatuses, verdictOf } from './http-statuses.ts';
import { FatalFailure } from './step-failure.ts';
import { outputOf } from './step-output.ts';

/** A longer answer is not cut but refused. */
const MOST_OUTPUT_BYTES = 16 * 1024 * 1024;
/** Of an answer that tells of a failure, for people. */
const TOLD_CHARACTERS = 300;
const USUAL_REDIRECTS = 5;
/** Whether the server goes on with it nobody knows here. */
const UNANSWERED = 'no answer had come, and what was asked for may still be done';
/** A server that asks for no wait gets this one: nobody is asked in a circle. */
const LEAST_WAIT_MS = 1000;

/**
 * Asks an address, and gives the body of the answer. The payload is the body, byte for byte; `Fencing-Token` and
 * `Idempotency-Key` tell the server whose word counts and what it has done already. A redirect may turn a POST into nothing, so
 * only GET and HEAD follow one unasked. A server that names a time at which to try again is asked again then, within
 * the same attempt, if there is time.
 */
export function httpAgent({ pool, blobs, clock }: { pool: HttpPool; blobs: Blobs; clock: Clock }): StepAgent {
  return { name: 'http', check: checkHttp, run };

  async function run(task: StepTask, signal: AbortSignal): Promise<StepResult> {
    const untilMs = clock.now() + task.remainingMs;
    const late = new AbortController();
    const cancel = clock.after(task.remainingMs, () => late.abort(new Error('no answer within its time')));
    const ending = AbortSignal.any([signal, late.signal]);
    try {
      return await untilAnswered(task, untilMs, signal, ending);
    } catch (error) {
      if (signal.aborted) throw new Error(`${wordsOf(signal.reason)}: ${UNANSWERED}`, { cause: error });
      throw late.signal.aborted ? late.signal.reason : error;
    } finally {
      cancel();
    }
  }

  async function untilAnswered(
    task: StepTask,
    untilMs: number,
    told: AbortSignal,
    ending: AbortSignal,
  ): Promise<StepResult> {
    const rules = {
      expected: parsed(task.work, 'expect-status'),
      retried: parsed(task.work, 'retry-status'),
    };
    for (;;) {
      const answer = await follow(task, untilMs, ending);
      const verdict = verdictOf(answer.statusCode ?? 0, rules);
      if (verdict === 'completed') return completed(task.work, answer);
      const body = await readBody(answer, MOST_OUTPUT_BYTES);
      const waitMs = verdict === 'RETRYABLE' ? askedToWaitMs(answer) : null;
      if (waitMs === null || waitMs >= untilMs - clock.now()) {
        return { kind: 'failed', type: verdict, error: tell(answer, body, waitMs) };
      }
      await clock.sleep(waitMs, ending);
      // It was answered, so nothing of it goes on.
      if (told.aborted) return { kind: 'stopped' };
    }
  }

  async function completed(work: StepWork, answer: IncomingMessage): Promise<StepResult> {
    const bytes = await readBody(answer, MOST_OUTPUT_BYTES);
    if (work.arguments?.['output'] === 'none') return { kind: 'completed', output: null };
    if (bytes === null) {
      const most = `${MOST_OUTPUT_BYTES / 2 ** 20} MiB`;
      throw new FatalFailure(`its answer is longer than ${most}; output: none does without it`);
    }
    const mimeType = answer.headers['content-type'] ?? 'text/plain';
    return { kind: 'completed', output: await outputOf({ mimeType, bytes }, blobs) };
  }

  async function follow(task: StepTask, untilMs: number, signal: AbortSignal): Promise<IncomingMessage> {
    let question = await questionOf(task, blobs, signal);
    const usual = isSafe(question.method) ? USUAL_REDIRECTS : 0;
    const most = Number(task.work.arguments?.['redirects'] ?? usual);
    for (let followed = 0; ; followed++) {
      question.headers['Hop3-Remaining-Ms'] = String(Math.max(0, Math.round(untilMs - clock.now())));
      const answer = await pool.ask(question, signal);
      const { location } = answer.headers;
      if (![301, 302, 303, 307, 308].includes(answer.statusCode ?? 0) || location === undefined)
        return answer;
      if (most === 0) return answer;
      await readBody(answer, MOST_OUTPUT_BYTES);
      if (followed === most)
        throw new FatalFailure(`it was redirected more than ${most} times, at last to ${location}`);
      question = redirected(question, answer.statusCode ?? 0, location);
    }
  }

  function askedToWaitMs({ headers }: IncomingMessage): number | null {
    const text = headers['retry-after'];
    if (text === undefined) return null;
    const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.parse(clock.timestamp());
    return Number.isNaN(ms) ? null : Math.max(LEAST_WAIT_MS, ms);
  }
}

function wordsOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : 'it was told to stop';
}

function parsed(work: StepWork, name: string): ReturnType<typeof parseStatuses> {
  const text = work.arguments?.[name];
  return text === undefined ? null : parseStatuses(text);
}

function tell(answer: IncomingMessage, body: Buffer | null, waitMs: number | null): string {
  const status = `HTTP ${answer.statusCode ?? 0} ${answer.statusMessage ?? ''}`.trim();
  // Nothing in it is to reach a terminal as a command.
  const text = body?.toString('utf8').replace(/\p{C}+/gu, ' ') ?? '';
  const said = text.trim().slice(0, TOLD_CHARACTERS);
  const location = answer.headers.location;
  return [
    status,
    ...(location === undefined ? [] : [`redirected to ${location}, which is not followed`]),
    ...(waitMs === null
      ? []
      : [`asks to wait for ${Math.round(waitMs / 1000)} s, longer than there is time`]),
    ...(said === '' ? [] : [said]),
  ].join(': ');
}
