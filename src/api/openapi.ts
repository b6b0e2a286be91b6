import { OpenApiGeneratorV31, OpenAPIRegistry, type RouteConfig } from '@asteasolutions/zod-to-openapi';
import { z } from 'zod';
import type { Route } from './route.ts';
import { problemDetails } from './wire.ts';

type Document = ReturnType<OpenApiGeneratorV31['generateDocument']>;

/** The OpenAPI 3.1 document of these routes, made of the very schemas they check with. */
export function openApiDocument(routes: Route[]): Document {
  const registry = new OpenAPIRegistry();
  registry.registerComponent('securitySchemes', 'token', { type: 'http', scheme: 'bearer' });
  for (const route of routes) registry.registerPath(operationOf(route));
  return new OpenApiGeneratorV31(registry.definitions).generateDocument({
    openapi: '3.1.0',
    info: {
      title: 'hop3-agent admin API',
      version: '1',
      description:
        'Any node answers for the whole cluster, and lists say as of which revision. Errors are RFC 9457 problem details.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{}, { token: [] }],
  });
}

function operationOf({ method, path, id, summary, params, query, body, answers }: Route): RouteConfig {
  return {
    method,
    path: path.replace('*}', '}'),
    operationId: id,
    summary,
    tags: [tagOf(path)],
    request: {
      ...(hasFields(params) ? { params } : {}),
      ...(hasFields(query) ? { query } : {}),
      ...(body === null
        ? {}
        : { body: { required: body.required, content: { [body.mediaType]: { schema: body.schema } } } }),
    },
    responses: {
      ...Object.fromEntries(
        Object.entries(answers).map(([status, { description, content }]) => [
          status,
          { description, ...(Object.keys(content).length === 0 ? {} : { content: contentOf(content) }) },
        ]),
      ),
      default: {
        description: 'What went wrong.',
        content: { 'application/problem+json': { schema: problemDetails } },
      },
    },
  };
}

function contentOf(content: Record<string, z.ZodType>): Record<string, { schema: z.ZodType }> {
  return Object.fromEntries(Object.entries(content).map(([type, schema]) => [type, { schema }]));
}

function tagOf(path: string): string {
  const [first, second] = path.split('/').slice(1);
  return (first === 'v1' ? second : first) || 'home';
}

function hasFields(schema: z.ZodObject): boolean {
  return Object.keys(schema.shape).length > 0;
}
