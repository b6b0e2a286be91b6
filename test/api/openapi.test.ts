import { Validator } from '@seriousme/openapi-schema-validator';
import test from 'ava';
import { z } from 'zod';
import { view } from '../../src/api/route.ts';
import { allRoutes } from '../../src/api/routes/all.ts';
import { FakeAdmin } from '../support/fake-admin.ts';
import { appSpec } from '../support/nouns.ts';
import { answersAsDocumented, type Asked, documentOf, operationsOf } from './as-documented.ts';
import { served, withJson } from './helpers.ts';

const digest = `sha256:${'a'.repeat(64)}`;
const guestbook = withJson({ specs: [appSpec({ app: 'guestbook', hostnames: ['g.example.com'] })] });
const yaml = {
  headers: { 'content-type': 'application/yaml' },
  body: 'metadata: {id: wiki, version: "1.0"}\nrun: {start: node server.js}\n',
};
const tar = { headers: { 'content-type': 'application/gzip' }, body: 'not looked into by the fake' };
const accept = (type: string, init: RequestInit = {}) => ({
  ...init,
  headers: { ...(init.headers as Record<string, string> | undefined), accept: type },
});

/** In this order, each answered as the document says. */
const asked: Asked[] = [
  ['home', 'GET', '/', {}, 200],
  ['openapi', 'GET', '/openapi.json', {}, 200],
  ['alive', 'GET', '/healthz', {}, 200],
  ['ready', 'GET', '/readyz', {}, 200],
  ['metrics', 'GET', '/metrics', {}, 200],
  ['doctor', 'GET', '/v1/doctor', {}, 200],
  ['getThisNode', 'GET', '/v1/node', {}, 200],
  ['listNodes', 'GET', '/v1/nodes', {}, 200],
  ['getNode', 'GET', '/v1/nodes/n3', {}, 200],
  ['drainNode', 'POST', '/v1/nodes/n2/drain', withJson({ reason: 'new kernel' }), 200],
  ['drainNode', 'POST', '/v1/nodes/n9/drain', {}, 404],
  ['undrainNode', 'POST', '/v1/nodes/n2/undrain', {}, 200],
  ['getRebalancing', 'GET', '/v1/rebalance', {}, 200],
  ['rebalance', 'POST', '/v1/rebalance', {}, 200],
  ['getNode', 'GET', '/v1/nodes/n7', {}, 404],
  ['listApps', 'GET', '/v1/apps', {}, 200],
  ['getApp', 'GET', '/v1/apps/blog', {}, 200],
  ['getApp', 'GET', '/v1/apps/nosuch', {}, 404],
  ['planApps', 'POST', '/v1/apps/plan', guestbook, 200],
  ['applyApps', 'PUT', '/v1/apps', guestbook, 200],
  ['applyApps', 'PUT', '/v1/apps', accept('application/x-ndjson', guestbook), 200],
  ['applyApps', 'PUT', '/v1/apps', withJson({ specs: [] }), 422],
  ['applyManifest', 'POST', '/v1/apps/manifest', yaml, 200],
  ['applyManifest', 'POST', '/v1/apps/manifest', { ...yaml, body: 'metadta: {}' }, 422],
  ['scaleApp', 'POST', '/v1/apps/blog/scale', withJson({ web: 3 }), 200],
  ['restartApp', 'POST', '/v1/apps/blog/restart', withJson({ process: 'web' }), 200],
  ['restartApp', 'POST', '/v1/apps/blog/restart', {}, 200],
  ['listReleases', 'GET', '/v1/apps/blog/releases', {}, 200],
  ['promoteApp', 'POST', '/v1/apps/blog/promote', {}, 200],
  ['rollbackApp', 'POST', '/v1/apps/blog/rollback', withJson({ release: 1 }), 200],
  ['rollbackApp', 'POST', '/v1/apps/blog/rollback', {}, 409],
  ['rollbackApp', 'POST', '/v1/apps/blog/rollback', withJson({ release: 0 }), 422],
  ['listInstances', 'GET', '/v1/instances?app=blog&process=web', {}, 200],
  ['listInstances', 'GET', '/v1/instances?nod=n1', {}, 400],
  ['getInstance', 'GET', '/v1/instances/blog/mailer/0', {}, 200],
  ['getInstance', 'GET', '/v1/instances/blog/mailer/9', {}, 404],
  ['listPromises', 'GET', '/v1/promises?of=n1&outcome=kept&kind=running&app=blog', {}, 200],
  ['getPromise', 'GET', '/v1/promises/n1/running:blog/web/0', {}, 200],
  ['getPromise', 'GET', '/v1/promises/n1/running:old/web/0', {}, 200],
  ['getPromise', 'GET', '/v1/promises/n1/running%3Ablog%2Fweb%2F0', {}, 200],
  ['getPromise', 'GET', '/v1/promises/n1/nothing', {}, 404],
  ['listAssessments', 'GET', '/v1/assessments?promiser=n1&assessor=n2', {}, 200],
  ['listRequests', 'GET', '/v1/requests', {}, 200],
  ['getSupervisor', 'GET', '/v1/supervisor', {}, 200],
  ['listSubjects', 'GET', '/v1/subjects?owner=n1', {}, 200],
  ['listEvents', 'GET', '/v1/events?limit=2', {}, 200],
  ['readLogs', 'GET', '/v1/logs/blog/web', {}, 200],
  ['readLogs', 'GET', '/v1/logs/blog/web/0?lines=1', accept('text/event-stream'), 200],
  ['readLogs', 'GET', '/v1/logs/blog', accept('text/plain'), 200],
  ['readLogs', 'GET', '/v1/logs/nosuch', {}, 404],
  ['explain', 'GET', '/v1/explain/instance/blog/web/0', {}, 200],
  ['explain', 'GET', '/v1/explain/n1/running:blog/web/0', {}, 200],
  ['uploadArtifact', 'POST', '/v1/artifacts', tar, 201],
  ['listArtifacts', 'GET', '/v1/artifacts', {}, 200],
  ['inspectArtifact', 'GET', `/v1/artifacts/${digest}/inspect`, {}, 200],
  ['inspectArtifact', 'GET', '/v1/artifacts/sha256:abc/inspect', {}, 400],
  ['removeApp', 'DELETE', '/v1/apps/blog', {}, 204],
  ['recover', 'POST', '/v1/cluster/recover', {}, 200],
  ['leave', 'POST', '/v1/node/leave', {}, 204],
];

test('the document is OpenAPI 3.1, and nothing shared in it is nullable', async t => {
  const { ask } = await served(t);
  const document = await documentOf(ask);
  t.is(document.openapi, '3.1.0');
  const verdict = await new Validator().validate({ ...document });
  t.true(verdict.valid, JSON.stringify(verdict.errors));
  for (const [name, schema] of Object.entries(document.components.schemas)) {
    t.false(JSON.stringify(schema['type'] ?? '').includes('null'), name);
  }
});

test('every route is in the document, under an id of its own', async t => {
  const { ask } = await served(t);
  const document = await documentOf(ask);
  const routes = allRoutes(new FakeAdmin(), []);
  const described = routes.map(
    ({ method, path }) => document.paths[path.replace('*}', '}')]?.[method]?.operationId,
  );
  t.deepEqual(
    described,
    routes.map(route => route.id),
  );
  t.is(new Set(described).size, routes.length);
  const operations = Object.values(document.paths).flatMap(path => Object.keys(path));
  t.is(operations.length, routes.length);
});

test('routes of other rooms are served, checked and described like ours', async t => {
  const extra = view({
    path: '/v1/echo/{word}',
    id: 'echo',
    summary: 'Says it again.',
    params: z.object({ word: z.string().regex(/^[a-z]+$/) }),
    answer: z.object({ said: z.string() }),
    handle: ({ params }) => ({ said: params.word }),
  });
  const { ask } = await served(t, { extraRoutes: [extra] });
  t.deepEqual(await (await ask('/v1/echo/hello')).json(), { said: 'hello' });
  t.is((await ask('/v1/echo/HELLO')).status, 400);
  const document = await documentOf(ask);
  t.is(document.paths['/v1/echo/{word}']?.['get']?.operationId, 'echo');
  t.regex(await (await ask('/')).text(), /Says it again\./);
});

test('every operation answers as the document says', async t => {
  const { ask } = await served(t);
  const document = await documentOf(ask);
  await answersAsDocumented(t, ask, asked);
  const exercised = new Set(asked.filter(([, , , , status]) => status < 300).map(([id]) => id));
  t.deepEqual(
    [...exercised].sort(),
    operationsOf(document)
      .map(operation => operation.operationId)
      .sort(),
  );
});
