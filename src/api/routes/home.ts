import { z } from 'zod';
import { type Route, route } from '../route.ts';

/** The API about itself: a page for people and a document for tools. */
export function homeRoutes(described: Route[]): Route[] {
  let document: Promise<string> | null = null;
  const routes: Route[] = [
    route({
      method: 'get',
      path: '/',
      id: 'home',
      summary: 'A page that lists what there is to ask.',
      answers: { 200: { description: 'HTML.', content: { 'text/html': z.string() } } },
      handle: () => ({
        kind: 'text',
        type: 'text/html; charset=utf-8',
        text: page([...routes, ...described]),
      }),
    }),
    route({
      method: 'get',
      path: '/openapi.json',
      id: 'openapi',
      summary: 'This API as an OpenAPI 3.1 document.',
      answers: {
        200: {
          description: 'OpenAPI.',
          content: { 'application/json': z.looseObject({ openapi: z.string() }) },
        },
      },
      handle: async () => {
        document ??= describe([...routes, ...described]);
        return { kind: 'text', type: 'application/json', text: await document };
      },
    }),
  ];
  return routes;
}

/** Loaded when first asked for: the generator is of no use to an agent nobody asks. */
async function describe(routes: Route[]): Promise<string> {
  const { openApiDocument } = await import('../openapi.ts');
  return JSON.stringify(openApiDocument(routes));
}

function page(routes: Route[]): string {
  const rows = routes.map(({ method, path, summary }) => {
    const plain = path.replace('*}', '}');
    const name = method === 'get' && !path.includes('{') ? `<a href="${plain}">${plain}</a>` : plain;
    return `<tr><td>${method.toUpperCase()}</td><td>${name}</td><td>${escaped(summary)}</td></tr>`;
  });
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>hop3-agent</title></head>
<body>
<h1>hop3-agent</h1>
<p>The admin API of one node, which answers for the whole cluster. Described in full by <a href="/openapi.json">/openapi.json</a>.</p>
<table>
<thead><tr><th>Method</th><th>Path</th><th>What it does</th></tr></thead>
<tbody>
${rows.join('\n')}
</tbody>
</table>
</body>
</html>
`;
}

function escaped(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/`/g, '');
}
