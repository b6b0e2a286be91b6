import { z } from 'zod';
import { subjectOfAgent } from '../../model/named-agents.ts';
import type { Admin } from '../../ports/admin.ts';
import type { NamedAgents } from '../../ports/named-agents.ts';
import { jsonBody } from '../body.ts';
import { Refusal } from '../refusal.ts';
import { type AnswerSchemas, type Route, route, streamed, view } from '../route.ts';
import { jsonLines, serverSentEvents } from '../stream.ts';
import { listing } from '../wire.ts';
import {
  agentName,
  agentNews,
  type AgentNews,
  agentView,
  commandBody,
  commandParams,
  commandProgress,
  nameAnswer,
  nameReleaseBody,
  nameRequestBody,
  nameState,
  nameStateBody,
  recallAnswer,
  stopBody,
  stoppedBody,
} from '../wire-agents.ts';
import { lastEventId, placed, resumed } from './events.ts';

const params = z.object({ name: agentName });
const done: AnswerSchemas = { 204: { description: 'Done.', content: {} } };
const COMMAND_LINES: AnswerSchemas = {
  200: {
    description:
      'The command as it goes, one JSON document a line, the last of kind `ended`; blank lines are heartbeats. Whoever ' +
      'leaves may listen again within 10 s; then the command is stopped.',
    content: { 'application/x-ndjson': commandProgress },
  },
};

/** One piece of news, and where a stream that is cut after it goes on. */
interface PlacedNews {
  place: string;
  news: AgentNews;
}

const newsFormat = serverSentEvents<PlacedNews>({ id: ({ place }) => place, data: ({ news }) => news });

/**
 * Names that programs own one at a time. Who may ask may run commands as the agent's user: the same guard stands before
 * these as before deploying an app, which does the same.
 */
export function agentRoutes(agents: NamedAgents, admin: Admin): Route[] {
  return [
    view({
      path: '/v1/agents',
      id: 'listAgents',
      summary: 'All named agents that somebody has, had or waits for.',
      answer: listing('AgentList', agentView),
      handle: () => agents.agents(),
    }),
    view({
      path: '/v1/agents/{name}',
      id: 'getAgent',
      summary: 'One named agent. Answered from memory; by its owner with how long it is still valid.',
      params,
      answer: agentView,
      handle: ({ params: { name } }) => agents.agent(name),
    }),
    route({
      method: 'get',
      path: '/v1/agents/{name}/watch',
      id: 'watchAgent',
      summary: 'A named agent as it is, then everything that happens to it.',
      params,
      answers: {
        200: {
          description:
            'Server-sent events: first a `snapshot` as of a revision, then each event of the ledger after it, none ' +
            'missing and none twice. With `Last-Event-ID` it goes on from there; the snapshot comes again only if ' +
            'the ledger does not reach back so far.',
          content: { 'text/event-stream': agentNews },
        },
      },
      handle: ({ params: { name }, header, signal }) =>
        streamed(watched(agents, admin, name, header('last-event-id'), signal), newsFormat, 'drop'),
    }),
    view({
      method: 'post',
      path: '/v1/agents/{name}/request',
      id: 'requestAgent',
      summary:
        'Asks for a name, or says that its holder is still there: to be repeated within `ttlSeconds` while it waits or ' +
        'holds. `validForMs` counts from when the request was sent. 409 when it is not to be had, or was lost.',
      params,
      body: jsonBody(nameRequestBody),
      answer: nameAnswer,
      handle: ({ params: { name }, body, signal }) => agents.request(name, body, signal),
    }),
    route({
      method: 'post',
      path: '/v1/agents/{name}/release',
      id: 'releaseAgent',
      summary: 'Its holder gives the name back, after its work has stopped; or waits no more.',
      params,
      body: jsonBody(nameReleaseBody),
      answers: done,
      handle: async ({ params: { name }, body }) => {
        await agents.release(name, body.holder, body.token);
        return { kind: 'empty' };
      },
    }),
    view({
      method: 'post',
      path: '/v1/agents/{name}/recall',
      id: 'recallAgent',
      summary: "By an operator: the owner's agent stops what it runs under the name, then releases it.",
      params,
      answer: recallAnswer,
      handle: ({ params: { name } }) => agents.recall(name),
    }),
    view({
      path: '/v1/agents/{name}/state',
      id: 'getAgentState',
      summary: 'The last state that an owner of the name has left.',
      params,
      answer: nameState,
      handle: async ({ params: { name } }) => {
        const state = await agents.state(name);
        if (state === null) throw new Refusal(404, 'not-found', `${name} has no state`);
        return state;
      },
    }),
    view({
      method: 'put',
      path: '/v1/agents/{name}/state',
      id: 'putAgentState',
      summary: 'Its holder leaves a state. 409 unless it has the name under that token at that moment.',
      params,
      body: jsonBody(nameStateBody),
      answer: nameState,
      handle: ({ params: { name }, body }) => agents.putState(name, body),
    }),
    route({
      method: 'post',
      path: '/v1/agents/{name}/commands',
      id: 'runCommand',
      summary: "Runs a command under a name, as the agent's own user and under its guard.",
      params,
      body: jsonBody(commandBody),
      answers: COMMAND_LINES,
      handle: ({ params: { name }, body, signal }) => streamed(agents.run(name, body, signal), jsonLines()),
    }),
    route({
      method: 'get',
      path: '/v1/agents/{name}/commands/{id}',
      id: 'attachCommand',
      summary: "Listens again to a command, after a line's cursor.",
      params: commandParams,
      query: z.strictObject({ after: z.string().max(12_000).optional() }),
      answers: COMMAND_LINES,
      handle: ({ params: { name, id }, query, signal }) =>
        streamed(agents.attach(name, id, query.after ?? null, signal), jsonLines()),
    }),
    route({
      method: 'post',
      path: '/v1/agents/{name}/commands/{id}/stop',
      id: 'stopCommand',
      summary: 'Asks a command to end, with its stop timeout; or kills it.',
      params: commandParams,
      body: jsonBody(stopBody, { required: false }),
      answers: done,
      handle: ({ params: { name, id }, body }) => {
        agents.stopCommand(name, id, body.kill);
        return { kind: 'empty' };
      },
    }),
    route({
      method: 'post',
      path: '/v1/subjects/confirm-stopped',
      id: 'confirmStopped',
      summary: 'By an operator who knows that a node outside the cluster runs no copy of a subject any more.',
      body: jsonBody(stoppedBody),
      answers: done,
      handle: async ({ body }) => {
        await agents.clearMayStillRun(body.subject, body.node);
        return { kind: 'empty' };
      },
    }),
  ];
}

async function* watched(
  agents: NamedAgents,
  admin: Admin,
  name: string,
  lastId: string,
  signal: AbortSignal,
): AsyncGenerator<PlacedNews> {
  const subject = subjectOfAgent(name);
  const last = lastEventId(lastId);
  if (last !== null && (await agents.ledgerReaches(last.revision))) {
    for await (const { place, event } of resumed(admin, { subject }, last, signal))
      if (event !== null) yield { place, news: { kind: 'event', event } };
    return;
  }
  const { revision, agent } = await agents.snapshot(name);
  yield { place: `${revision}-all`, news: { kind: 'snapshot', revision, agent } };
  let assigned = agent.state === 'Assigned';
  for await (const { place, event } of placed(admin.followEvents({ subject, after: revision }, signal))) {
    // That a session ended is seen before it is written down: the snapshot may have told it.
    if (event.kind === 'agent-timed-out' && !assigned) continue;
    if (event.kind === 'agent-assigned') assigned = true;
    if (event.kind === 'agent-released' || event.kind === 'agent-timed-out') assigned = false;
    yield { place, news: { kind: 'event', event } };
  }
}
