import type { Context } from 'koa';
import { z } from 'zod';
import type { BodyLimits, BodyReader } from './body.ts';
import { shapeRefusal } from './refusal.ts';
import type { Framing, StreamFormat } from './stream.ts';

/** What a handler knows of the request it answers. */
export interface RouteRequest<P, Q, B> {
  params: P;
  query: Q;
  body: B;
  /** Empty when the header is not there. */
  header: (name: string) => string;
  /** The first type when the client takes anything or none of them. */
  prefers: <T extends string>(first: T, ...others: T[]) => T;
  /** Aborts when the client is gone, the answer is finished or the server closes. */
  signal: AbortSignal;
}

export type Answer =
  | { kind: 'json'; status: number; value: unknown; headers?: Record<string, string> }
  | { kind: 'text'; type: string; text: string; headers?: Record<string, string> }
  /** Whatever they are: nothing that a browser would show as a page of ours. */
  | { kind: 'bytes'; bytes: Uint8Array }
  | { kind: 'empty' }
  /** `slow`: a client that does not keep up is waited for (up to a limit), or dropped and may resume. */
  | { kind: 'stream'; framing: Framing; texts: AsyncIterable<string>; slow: 'wait' | 'drop' }
  /** `tell` resolves when all is said. What it says is taken when `say` resolves. */
  | { kind: 'told'; framing: Framing; tell: (say: Say) => Promise<void> };

export type Say = (text: Buffer) => Promise<void>;

export function streamed<T>(
  items: AsyncIterable<T>,
  format: StreamFormat<T>,
  slow: 'wait' | 'drop' = 'wait',
): Answer {
  return { kind: 'stream', framing: format, texts: written(items, format), slow };
}

export type AnswerSchemas = Record<number, { description: string; content: Record<string, z.ZodType> }>;

/** One operation: what the router serves and the OpenAPI document says. */
export interface Route {
  method: 'get' | 'put' | 'post' | 'delete';
  /** `{name}` is one segment, `{name*}` the rest of the path with its slashes. */
  path: string;
  /** The OpenAPI operationId. */
  id: string;
  summary: string;
  params: z.ZodObject;
  query: z.ZodObject;
  body: BodyReader<unknown> | null;
  answers: AnswerSchemas;
  /** Checks what the request carries, then answers. @throws Refusal, and whatever the handler throws */
  handle(ctx: Context, limits: BodyLimits, signal: AbortSignal): Promise<Answer>;
}

interface Definition<P extends z.ZodObject, Q extends z.ZodObject, B> {
  path: string;
  id: string;
  summary: string;
  params?: P;
  query?: Q;
  body?: BodyReader<B>;
}

/** An operation that is checked against the same schemas that describe it. */
export function route<P extends z.ZodObject = z.ZodObject, Q extends z.ZodObject = z.ZodObject, B = null>(
  definition: Definition<P, Q, B> & {
    method: Route['method'];
    answers: AnswerSchemas;
    handle(request: RouteRequest<z.output<P>, z.output<Q>, B>): Answer | Promise<Answer>;
  },
): Route {
  const params = definition.params ?? z.strictObject({});
  const query = definition.query ?? z.strictObject({});
  const body = definition.body ?? null;
  return {
    ...definition,
    params,
    query,
    body,
    async handle(ctx, limits, signal) {
      return await definition.handle({
        params: parsed('the path is not right', params, ctx['params']) as z.output<P>,
        query: parsed('the query is not right', query, { ...ctx.query }) as z.output<Q>,
        body: (body === null ? null : await body.read(ctx, limits)) as B,
        header: name => ctx.get(name),
        prefers: (first, ...others) => {
          const accepted = ctx.accepts(first, ...others);
          return [first, ...others].find(type => type === accepted) ?? first;
        },
        signal,
      });
    },
  };
}

/** A GET, or another method, that answers 200 with one JSON document. */
export function view<T, P extends z.ZodObject = z.ZodObject, Q extends z.ZodObject = z.ZodObject, B = null>(
  definition: Definition<P, Q, B> & {
    method?: Route['method'];
    answer: z.ZodType<T>;
    handle(request: RouteRequest<z.output<P>, z.output<Q>, B>): T | Promise<T>;
  },
): Route {
  const { answer, ...rest } = definition;
  return route<P, Q, B>({
    ...rest,
    method: definition.method ?? 'get',
    answers: { 200: { description: 'Done.', content: { 'application/json': answer } } },
    handle: async request => ({ kind: 'json', status: 200, value: await definition.handle(request) }),
  });
}

function parsed(what: string, schema: z.ZodObject, value: unknown): unknown {
  const result = schema.safeParse(value, { reportInput: true });
  if (!result.success) throw shapeRefusal(400, what, schema, result.error);
  return result.data;
}

async function* written<T>(items: AsyncIterable<T>, format: StreamFormat<T>): AsyncGenerator<string> {
  for await (const item of items) yield format.item(item);
}
