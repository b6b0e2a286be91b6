import { Validator } from '@seriousme/openapi-schema-validator';
import test, { type ExecutionContext } from 'ava';
import { ApiError } from '../../src/api/client.ts';
import { agentRoutes } from '../../src/api/routes/agents.ts';
import type { CommandRequest } from '../../src/model/named-agents.ts';
import { FakeAdmin } from '../support/fake-admin.ts';
import { FakeNamedAgents } from '../support/fake-named-agents.ts';
import { served, take, withJson } from './helpers.ts';

const NAME = 'nightly-report';
const SUBJECT = `agent/${NAME}`;

async function withAgents(t: ExecutionContext) {
  const agents = new FakeNamedAgents();
  const ledger = new FakeAdmin();
  const api = await served(t, { extraRoutes: agentRoutes(agents, ledger) });
  return { ...api, agents, ledger };
}

test('a name is asked for, shown, and given back', async t => {
  const { client } = await withAgents(t);
  const answer = await client.requestAgent(NAME, { holder: 'first' });
  t.like(answer, { state: 'Assigned', holder: 'first', token: '7', validForMs: 5000 });
  const { items } = await client.agents();
  t.like(items[0], { name: NAME, state: 'Assigned', owner: 'n1', holder: 'first' });
  t.deepEqual(await client.agentNamed(NAME), items[0]);
  const refused = await t.throwsAsync(client.requestAgent(NAME, { holder: 'second' }), {
    instanceOf: ApiError,
  });
  t.is(refused.status, 409);
  t.is(refused.problem['holder'], 'first');
  t.is((await client.requestAgent(NAME, { holder: 'second', wait: true })).ahead, 0);
  await client.releaseAgent(NAME, { holder: 'first', token: '7' });
  t.is((await client.agentNamed(NAME)).state, 'Inactive');
});

test('a state is put under a token and read back, whatever JSON it is', async t => {
  const { client } = await withAgents(t);
  const missing = await t.throwsAsync(client.agentState(NAME), { instanceOf: ApiError });
  t.is(missing.status, 404);
  await client.requestAgent(NAME, { holder: 'first' });
  for (const state of [{ page: 2, parts: ['a'] }, 'text', 0, false, null]) {
    await client.putAgentState(NAME, { holder: 'first', token: '7', state });
    t.deepEqual((await client.agentState(NAME)).state, state);
  }
  const stale = await t.throwsAsync(client.putAgentState(NAME, { holder: 'first', token: '6', state: 1 }), {
    instanceOf: ApiError,
  });
  t.is(stale.status, 409);
});

const refused: [what: string, method: string, path: string, body: unknown, status: number][] = [
  ['a name with a slash in it', 'POST', '/v1/agents/a%2Fb/request', { holder: 'a' }, 400],
  ['a name that begins with a dot', 'POST', '/v1/agents/.hidden/request', { holder: 'a' }, 400],
  ['no holder', 'POST', `/v1/agents/${NAME}/request`, {}, 422],
  [
    'a holder that calls itself a command',
    'POST',
    `/v1/agents/${NAME}/request`,
    { holder: 'command:1' },
    422,
  ],
  ['a silence too long', 'POST', `/v1/agents/${NAME}/request`, { holder: 'a', ttlSeconds: 3600 }, 422],
  ['no state', 'PUT', `/v1/agents/${NAME}/state`, { holder: 'a', token: '7' }, 422],
  [
    'a state too large',
    'PUT',
    `/v1/agents/${NAME}/state`,
    { holder: 'a', token: '7', state: 'x'.repeat(70_000) },
    422,
  ],
  [
    'no command',
    'POST',
    `/v1/agents/${NAME}/commands`,
    { id: 'a', command: [], directory: '/', env: {} },
    422,
  ],
  [
    'a relative directory',
    'POST',
    `/v1/agents/${NAME}/commands`,
    { id: 'a', command: ['a'], directory: '.', env: {} },
    422,
  ],
  [
    'a NUL',
    'POST',
    `/v1/agents/${NAME}/commands`,
    { id: 'a', command: ['a\0b'], directory: '/', env: {} },
    422,
  ],
];
for (const [what, method, path, body, expected] of refused) {
  test(`refused: ${what}`, async t => {
    const { ask, agents } = await withAgents(t);
    const { status } = await ask(path, { method, ...withJson(body) });
    t.is(status, expected);
    t.deepEqual(agents.runs, []);
    t.deepEqual(agents.agents().items, []);
  });
}

const command: CommandRequest = {
  id: 'c1',
  command: ['echo', 'a'],
  directory: '/tmp',
  env: { A: 'b' },
  wait: true,
  timeoutSeconds: 5,
  stopTimeoutSeconds: 1,
};

test('a command is told as it goes, listened to again after a line, and asked to end', async t => {
  const { client, agents } = await withAgents(t);
  agents.script = [
    { kind: 'waiting', ahead: 1, reason: 'held' },
    { kind: 'started', node: 'n1', holder: 'command:c1', token: '7' },
    { kind: 'output', stream: 'stderr', text: 'a', cursor: 'u~1~0' },
    { kind: 'stopping', reason: 'asked' },
    { kind: 'ended', code: null, signal: 'SIGTERM', reason: 'asked', released: true },
  ];
  t.deepEqual(await take(9, client.runCommand(NAME, command)), agents.script);
  t.deepEqual(agents.runs, [command]);
  t.deepEqual(await take(9, client.attachCommand(NAME, 'c1', 'u~1~0')), agents.script);
  await take(9, client.attachCommand(NAME, 'c1', null));
  t.deepEqual(agents.attaches, [
    { id: 'c1', after: 'u~1~0' },
    { id: 'c1', after: null },
  ]);
  await client.stopCommand(NAME, 'c1', true);
  t.deepEqual(agents.stops, [{ id: 'c1', kill: true }]);
  const unknown = await t.throwsAsync(take(1, client.attachCommand(NAME, 'unknown', null)), {
    instanceOf: ApiError,
  });
  t.is(unknown.status, 404);
});

test('a command whose name is taken is refused with a status', async t => {
  const { client } = await withAgents(t);
  await client.requestAgent(NAME, { holder: 'first' });
  const error = await t.throwsAsync(take(1, client.runCommand(NAME, command)), { instanceOf: ApiError });
  t.is(error.status, 409);
});

test('an operator recalls a name, and says that a node is dead', async t => {
  const { client, agents } = await withAgents(t);
  await client.requestAgent(NAME, { holder: 'first' });
  t.deepEqual(await client.recallAgent(NAME), { owner: 'n1', holder: 'first', token: '7' });
  t.is((await t.throwsAsync(client.recallAgent(NAME), { instanceOf: ApiError })).status, 409);
  await client.confirmStopped('instance/blog/web/0', 'n3');
  t.deepEqual(agents.cleared, ['instance/blog/web/0@n3']);
});

test('a watch begins with a snapshot, then tells what the ledger records after it', async t => {
  const { client, agents, ledger } = await withAgents(t);
  const before = ledger.record({ kind: 'agent-assigned', subject: SUBJECT });
  agents.revision = before.revision;
  ledger.record({ kind: 'agent-assigned', subject: 'agent/other' });
  const requested = ledger.record({ kind: 'agent-requested', subject: SUBJECT });
  const told = await take(2, client.watchAgent(NAME));
  t.like(told[0]!.value, { kind: 'snapshot', revision: before.revision });
  t.deepEqual(told[1]!.value, { kind: 'event', event: requested });
  const released = ledger.record({ kind: 'agent-released', subject: SUBJECT });
  t.deepEqual(
    (await take(1, client.watchAgent(NAME, told[1]!.id))).map(({ value }) => value),
    [{ kind: 'event', event: released }],
  );
  t.deepEqual(
    (await take(2, client.watchAgent(NAME, told[0]!.id))).map(({ value }) => value),
    [
      { kind: 'event', event: requested },
      { kind: 'event', event: released },
    ],
  );
});

test('a watch that asks for what the ledger has forgotten gets a snapshot again', async t => {
  const { client, agents } = await withAgents(t);
  agents.ledgerFrom = 90n;
  const [first] = await take(1, client.watchAgent(NAME, '50'));
  t.is(first!.value!.kind, 'snapshot');
});

test('a timeout that the snapshot has told already is not told again', async t => {
  const { client, agents, ledger } = await withAgents(t);
  agents.revision = ledger.record({ kind: 'agent-assigned', subject: SUBJECT }).revision;
  ledger.record({ kind: 'agent-timed-out', subject: SUBJECT });
  const assigned = ledger.record({ kind: 'agent-assigned', subject: SUBJECT });
  const timedOut = ledger.record({ kind: 'agent-timed-out', subject: SUBJECT });
  const told = await take(3, client.watchAgent(NAME));
  t.deepEqual(
    told.slice(1).map(({ value }) => value),
    [
      { kind: 'event', event: assigned },
      { kind: 'event', event: timedOut },
    ],
  );
});

test('the routes are in an OpenAPI document that holds', async t => {
  const { ask } = await withAgents(t);
  const document = (await (await ask('/openapi.json')).json()) as { paths: Record<string, unknown> };
  const verdict = await new Validator().validate({ ...document });
  t.true(verdict.valid, JSON.stringify(verdict.errors));
  for (const path of ['', '/{name}', '/{name}/request', '/{name}/watch', '/{name}/state', '/{name}/commands'])
    t.truthy(document.paths[`/v1/agents${path}`], path);
});
