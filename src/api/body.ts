import { bodyParser } from '@koa/bodyparser';
import type { Context } from 'koa';
import { z } from 'zod';
import type { PlanProblem } from '../model/plan.ts';
import { Refusal, shapeRefusal } from './refusal.ts';
import { salvaged } from './salvage.ts';

export interface BodyLimits {
  /** Of a JSON or YAML body. */
  documentBytes: number;
  /** Of a plan: its payloads come with it. */
  planBytes: number;
  artifactBytes: number;
}

/** How one route takes its body, and how the OpenAPI document describes that. */
export interface BodyReader<T> {
  mediaType: string;
  required: boolean;
  schema: z.ZodType;
  /** @throws Refusal 400, 413, 415 or 422, or an error of the parser that carries its status */
  read(ctx: Context, limits: BodyLimits): Promise<T>;
}

export function jsonBody<S extends z.ZodType>(
  schema: S,
  options: {
    required?: boolean;
    limit?: 'documentBytes' | 'planBytes';
    /** All that is wrong with what has the right shape; asked here only of what is left of a body that has not, to tell it as well. */
    wrong?: (body: z.output<S>) => PlanProblem[];
  } = {},
): BodyReader<z.output<S>> {
  const mediaType = 'application/json';
  const { required = true, limit = 'documentBytes', wrong } = options;
  return {
    mediaType,
    schema,
    required,
    async read(ctx, limits) {
      checkMediaType(ctx, mediaType, required);
      const parser = bodyParser({ enableTypes: ['json'], jsonLimit: limits[limit] });
      await parser(ctx, () => Promise.resolve());
      const body: unknown = ctx.request.body ?? {};
      const parsed = schema.safeParse(body, { reportInput: true });
      if (parsed.success) return parsed.data;
      const left = wrong === undefined ? null : salvaged(schema, body, parsed.error);
      const more = left === null ? [] : (wrong?.(left) ?? []);
      throw shapeRefusal(422, 'the body is not right', schema, parsed.error, more);
    },
  };
}

export function textBody(mediaType: string): BodyReader<string> {
  return {
    mediaType,
    required: true,
    schema: z.string(),
    async read(ctx, limits) {
      checkMediaType(ctx, mediaType, true);
      const parser = bodyParser({
        enableTypes: ['text'],
        extendTypes: { text: [mediaType] },
        textLimit: limits.documentBytes,
      });
      await parser(ctx, () => Promise.resolve());
      return typeof ctx.request.body === 'string' ? ctx.request.body : '';
    },
  };
}

/** The bytes as they come; reading further than the limit throws. */
export function byteBody(mediaType: string): BodyReader<AsyncIterable<Uint8Array>> {
  return {
    mediaType,
    required: true,
    schema: z.string().meta({ format: 'binary' }),
    read(ctx, { artifactBytes }) {
      checkMediaType(ctx, mediaType, true);
      if (ctx.request.length > artifactBytes) throw tooLarge(artifactBytes);
      return Promise.resolve(atMost(ctx.req, artifactBytes));
    },
  };
}

function checkMediaType(ctx: Context, wanted: string, required: boolean): void {
  const found = ctx.get('content-length') === '0' ? null : ctx.request.is(wanted);
  if (found === null && required) throw new Refusal(400, 'malformed', `a body is needed, of type ${wanted}`);
  if (found !== false) return;
  const given = ctx.request.get('content-type') || 'none';
  throw new Refusal(415, 'unsupported-type', `the body must be of type ${wanted}, not ${given}`, {
    headers: { accept: wanted },
  });
}

async function* atMost(source: AsyncIterable<Uint8Array>, limit: number): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of source) {
    bytes += chunk.byteLength;
    if (bytes > limit) throw tooLarge(limit);
    yield chunk;
  }
}

function tooLarge(limit: number): Refusal {
  return new Refusal(413, 'too-large', `the body is larger than ${limit} bytes`);
}
