import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import type { ExecutionContext } from 'ava';
import type { Served } from './helpers.ts';

type Schema = Record<string, unknown>;
interface Operation {
  operationId: string;
  responses: Record<string, { content?: Record<string, { schema: Schema }> }>;
}
export interface Document {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
}

export type Asked = [id: string, method: string, path: string, init: RequestInit, status: number];

export async function documentOf(ask: Served['ask']): Promise<Document> {
  return (await (await ask('/openapi.json')).json()) as Document;
}

export function operationsOf({ paths }: Document): Operation[] {
  return Object.values(paths).flatMap(path => Object.values(path));
}

/** Asks one after the other, and holds each answer against what the document says of that operation and status. */
export async function answersAsDocumented(
  t: ExecutionContext,
  ask: Served['ask'],
  asked: Asked[],
): Promise<void> {
  const document = closed(await (await ask('/openapi.json')).text());
  const validatorOf = compiler(document);
  const operations = operationsOf(document);
  for (const [id, method, path, init, status] of asked) {
    const response = await ask(path, { method, ...init });
    const text = await response.text();
    const name = `${method} ${path}`;
    t.is(response.status, status, `${name}: ${text}`);
    const operation = operations.find(each => each.operationId === id);
    const answer = operation?.responses[String(status)] ?? operation?.responses['default'];
    if (status === 204) {
      t.is(text, '', name);
      continue;
    }
    const type = response.headers.get('content-type')?.split(';')[0] ?? '';
    const schema = answer?.content?.[type]?.schema;
    if (schema === undefined) {
      t.fail(`${name}: ${type} is not in the document`);
      continue;
    }
    const validate = validatorOf(schema);
    for (const value of valuesOf(type, text)) {
      t.true(validate(value), `${name}: ${JSON.stringify(validate.errors)} in ${JSON.stringify(value)}`);
    }
  }
}

/** Stricter than the document: a field that it does not name is a field somebody forgot to describe. */
function closed(text: string): Document {
  return JSON.parse(text, (_key, value: unknown) => {
    const isObject = typeof value === 'object' && value !== null && 'properties' in value && 'type' in value;
    return isObject && !('additionalProperties' in value) ? { ...value, additionalProperties: false } : value;
  }) as Document;
}

function compiler({ components }: Document): (schema: Schema) => ValidateFunction {
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  addFormats.default(ajv);
  ajv.addSchema({ $id: 'http://test/document', components });
  return schema =>
    ajv.compile(
      JSON.parse(
        JSON.stringify(schema).replaceAll('"#/components', '"http://test/document#/components'),
      ) as Schema,
    );
}

/** A stream's schema is that of one item. */
function valuesOf(type: string, text: string): unknown[] {
  if (type === 'application/x-ndjson') {
    return text
      .split('\n')
      .filter(line => line !== '')
      .map(line => JSON.parse(line) as unknown);
  }
  if (type === 'text/event-stream') {
    return [...text.matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data ?? '') as unknown);
  }
  return [/json$/.test(type) ? (JSON.parse(text) as unknown) : text];
}
