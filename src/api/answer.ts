import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import type { Context } from 'koa';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { problemDetailsOf, Refusal, refusalOf } from './refusal.ts';
import type { Answer } from './route.ts';
import { begun, readAhead, type StreamLimits, Told, unstalled, withHeartbeat } from './stream.ts';

/** How long a stream's source may think before the answer's head is sent without waiting for its first item. */
const FIRST_ITEM_PATIENCE_MS = 250;
const STALLED = 'it has taken nothing for a while';

export interface AnswerTools {
  clock: Clock;
  log: Log;
  limits: StreamLimits;
}

/** Puts what a handler answered on the response. Rejects only before anything was sent. */
export async function sendAnswer(
  ctx: Context,
  answer: Answer,
  tools: AnswerTools,
  signal: AbortSignal,
): Promise<void> {
  switch (answer.kind) {
    case 'json':
      ctx.status = answer.status;
      ctx.set(answer.headers ?? {});
      ctx.type = 'application/json';
      ctx.body = `${JSON.stringify(answer.value)}\n`;
      return;
    case 'text':
      ctx.status = 200;
      ctx.set(answer.headers ?? {});
      ctx.type = answer.type;
      ctx.body = answer.text;
      return;
    case 'bytes':
      ctx.status = 200;
      ctx.set('content-disposition', 'attachment');
      ctx.type = 'application/octet-stream';
      ctx.body = Buffer.from(answer.bytes.buffer, answer.bytes.byteOffset, answer.bytes.byteLength);
      return;
    case 'empty':
      ctx.status = 204;
      return;
    case 'stream':
      await sendStream(ctx, answer, tools, signal);
      return;
    case 'told':
      await sendTold(ctx, answer, tools, signal);
  }
}

export function sendRefusal(ctx: Context, refusal: Refusal): void {
  ctx.set(refusal.headers);
  ctx.status = refusal.status;
  ctx.type = 'application/problem+json';
  ctx.body = `${JSON.stringify(problemDetailsOf(refusal))}\n`;
}

/** What is nobody's fault but ours is logged under an id, and only the id is told. */
export function refusalToSend(error: unknown, log: Log): Refusal {
  const refusal = refusalOf(error);
  if (refusal !== null) return refusal;
  const id = randomUUID();
  log.error('a request failed', { id, error });
  return new Refusal(500, 'internal', `something went wrong in the agent; its log says more under ${id}`, {
    extensions: { id },
    cause: error,
  });
}

async function sendStream(
  ctx: Context,
  answer: Answer & { kind: 'stream' },
  { clock, log, limits }: AnswerTools,
  signal: AbortSignal,
): Promise<void> {
  const { framing } = answer;
  ctx.status = 200;
  if (ctx.method === 'HEAD') {
    ctx.type = framing.type;
    return;
  }
  const source = await begun(answer.texts, clock, FIRST_ITEM_PATIENCE_MS);
  const dropFor = (reason: string) => () => drop(ctx, log, reason);

  let text: AsyncIterable<string> = framed();
  if (framing.heartbeat !== null) {
    text = withHeartbeat(text, { text: framing.heartbeat, everyMs: limits.heartbeatMs, clock });
  }
  if (answer.slow === 'drop')
    text = readAhead(text, limits.waitingBytes, dropFor('too much is waiting for it'));
  ctx.type = framing.type;
  ctx.body = Readable.from(unstalled(text, limits.stallMs, clock, dropFor(STALLED)));
  ctx.flushHeaders();

  async function* framed(): AsyncGenerator<string> {
    if (framing.opening !== '') yield framing.opening;
    try {
      yield* source;
    } catch (error) {
      if (!signal.aborted) yield framing.failure(problemDetailsOf(refusalToSend(error, log)));
    }
  }
}

async function sendTold(
  ctx: Context,
  { framing, tell }: Answer & { kind: 'told' },
  tools: AnswerTools,
  signal: AbortSignal,
): Promise<void> {
  const { clock, log } = tools;
  ctx.status = 200;
  ctx.type = framing.type;
  if (ctx.method === 'HEAD') return;
  const told = new Told(framing, tools, () => drop(ctx, log, STALLED));
  const first = new AbortController();
  const over = tell(text => {
    first.abort();
    return told.say(text);
  });
  try {
    await Promise.race([over, clock.sleep(FIRST_ITEM_PATIENCE_MS, first.signal)]);
  } catch (error) {
    told.destroy();
    throw error;
  } finally {
    first.abort();
  }
  void over
    .catch((error: unknown) => {
      if (!signal.aborted) void told.say(framing.failure(problemDetailsOf(refusalToSend(error, log))));
    })
    .finally(() => told.end());
  ctx.body = told;
  ctx.flushHeaders();
}

function drop(ctx: Context, log: Log, reason: string): void {
  if (ctx.res.destroyed) return;
  log.warn('dropped a client that does not read', { path: ctx.path, reason });
  ctx.res.destroy();
}
