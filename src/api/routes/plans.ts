import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { Digest } from '../../model/ids.ts';
import type { PlanSpec } from '../../model/plan.ts';
import type { PlanChange } from '../../model/plan-views.ts';
import type { PlanBatch, PlanFeeds } from '../../ports/plan-feeds.ts';
import type { PlanFilter, Plans, StepFilter } from '../../ports/plans.ts';
import { jsonBody } from '../body.ts';
import { given, wholeNumber } from '../query.ts';
import { Refusal } from '../refusal.ts';
import { type AnswerSchemas, type Route, route, type Say, view } from '../route.ts';
import { serverSentEvents } from '../stream.ts';
import {
  cancelBody,
  idempotencyKey,
  planChecked,
  planEvent,
  planId,
  planList,
  planSpecOf,
  planStateWords,
  planView,
  retryBody,
  stepList,
  stepStateWords,
  stepView,
  submitBody,
  submittedPlan,
} from '../wire-plans.ts';
import { lastEventId } from './events.ts';

const params = z.object({ plan: planId });
const stepParams = z.object({ plan: planId, index: wholeNumber(1_000_000) });
const json = (description: string, schema: z.ZodType): AnswerSchemas[number] => ({
  description,
  content: { 'application/json': schema },
});

/** `place` = where a stream that is cut after it goes on; null = it begins again. */
const eventFormat = serverSentEvents<{ event: PlanChange; place: string | null }>({
  id: ({ place }) => place,
  data: ({ event }) => event,
});

/** Batches and graphs of steps. Bodies may hold what `planBytes` permits; a payload is taken whole or refused. */
export function planRoutes(plans: Plans, feeds: PlanFeeds): Route[] {
  const body = jsonBody(submitBody, { limit: 'planBytes', wrong: plan => plans.check(planSpecOf(plan)) });
  return [
    route({
      method: 'post',
      path: '/v1/plans',
      id: 'submitPlan',
      summary:
        'Submits a plan: as a whole, or not at all. With `Idempotency-Key`, as a header or field, it may be asked again. ' +
        'A body may have 32 MiB.',
      body,
      answers: {
        201: json('Accepted.', submittedPlan),
        200: json('The same was accepted before.', submittedPlan),
      },
      handle: async ({ body, header }) => {
        const key = keyOf(header('idempotency-key'), body.idempotencyKey);
        const spec = planSpecOf(body);
        const { plan, created } = await plans.submit({
          spec,
          idempotencyKey: key,
          digest: digestOf(spec),
          origin: 'rest',
        });
        const headers = { location: `/v1/plans/${plan.plan}` };
        return { kind: 'json', status: created ? 201 : 200, value: { ...plan, created }, headers };
      },
    }),
    view({
      method: 'post',
      path: '/v1/plans/check',
      id: 'checkPlan',
      summary: 'Everything that would keep a plan from being accepted, and submits nothing.',
      body,
      answer: planChecked,
      handle: ({ body }) => ({
        problems: plans
          .check(planSpecOf(body))
          .map(problem => ({ file: '<body>', line: 0, column: 0, ...problem })),
      }),
    }),
    view({
      path: '/v1/plans',
      id: 'listPlans',
      summary: 'Plans, the newest first.',
      query: z.strictObject({
        state: planStateWords.optional(),
        origin: z.string().optional(),
        title: z.string().optional().meta({ description: 'Part of the title.' }),
        limit: wholeNumber(1000).optional(),
        after: z.string().max(256).optional().meta({ description: '`next` of the page before.' }),
      }),
      answer: planList,
      handle: ({ query: { state, limit, ...rest } }) => {
        const filter: PlanFilter = { ...given({ states: state, ...rest }), limit: Math.max(1, limit ?? 100) };
        return plans.list(filter);
      },
    }),
    view({
      path: '/v1/plans/{plan}',
      id: 'getPlan',
      summary: 'One plan.',
      params,
      answer: planView,
      handle: request => plans.plan(request.params.plan),
    }),
    view({
      path: '/v1/plans/{plan}/steps',
      id: 'listSteps',
      summary:
        'Steps of a plan in the order of their indexes: those in certain states, from `first` on, at most `limit` ' +
        '(default 1000). The next page begins after the last index.',
      params,
      query: z.strictObject({
        state: stepStateWords.optional(),
        first: wholeNumber(1_000_000).optional(),
        limit: wholeNumber(10_000).optional(),
      }),
      answer: stepList,
      handle: ({ params: { plan }, query: { state, first, limit = 1000 } }) => {
        const filter: StepFilter = given({ states: state, first, limit });
        return plans.steps(plan, filter);
      },
    }),
    view({
      path: '/v1/plans/{plan}/steps/{index}',
      id: 'getStep',
      summary: 'One step.',
      params: stepParams,
      answer: stepView,
      handle: ({ params: { plan, index } }) => plans.step(plan, index),
    }),
    route({
      method: 'get',
      path: '/v1/plans/{plan}/steps/{index}/output',
      id: 'getStepOutput',
      summary: 'What a completed step gave, as bytes.',
      params: stepParams,
      answers: {
        200: {
          description: 'All of it.',
          content: { 'application/octet-stream': z.string().meta({ format: 'binary' }) },
        },
        204: { description: 'It gave nothing.', content: {} },
      },
      handle: async ({ params: { plan, index }, signal }) => {
        const bytes = await plans.output(plan, index, signal);
        return bytes === null ? { kind: 'empty' } : { kind: 'bytes', bytes };
      },
    }),
    view({
      method: 'post',
      path: '/v1/plans/{plan}/cancel',
      id: 'cancelPlan',
      summary: 'Asks for a plan to end: nothing more is started, and what runs is told to stop.',
      params,
      body: jsonBody(cancelBody, { required: false }),
      answer: planView,
      handle: ({ params: { plan }, body }) => plans.cancel(plan, body.by),
    }),
    view({
      method: 'post',
      path: '/v1/plans/{plan}/retry',
      id: 'retryPlan',
      summary:
        'Of a plan that has ended badly: does its failed steps again, or some of them, and all that was skipped after them.',
      params,
      body: jsonBody(retryBody, { required: false }),
      answer: planView,
      handle: ({ params: { plan }, body }) => plans.retry(plan, body.steps),
    }),
    view({
      method: 'post',
      path: '/v1/plans/{plan}/steps/{index}/retry',
      id: 'retryStep',
      summary: 'The same for one step.',
      params: stepParams,
      answer: planView,
      handle: ({ params: { plan, index } }) => plans.retry(plan, [index]),
    }),
    route({
      method: 'delete',
      path: '/v1/plans/{plan}',
      id: 'forgetPlan',
      summary: 'Forgets a plan that has ended.',
      params,
      answers: { 204: { description: 'It is gone.', content: {} } },
      handle: async request => {
        await plans.forget(request.params.plan);
        return { kind: 'empty' };
      },
    }),
    route({
      method: 'get',
      path: '/v1/plans/{plan}/events',
      id: 'watchPlan',
      summary:
        'A plan and its steps as they are, then each of them whenever it changes, until the plan has ended.',
      params,
      answers: {
        200: {
          description:
            'Server-sent events, each with the whole state of the plan or of one step. Their ids are revisions: with ' +
            '`Last-Event-ID` what has changed since comes, of the last revision perhaps once more.',
          content: { 'text/event-stream': planEvent },
        },
      },
      handle: ({ params: { plan }, header, signal }) => {
        const last = lastEventId(header('last-event-id'));
        const tell = (say: Say): Promise<void> =>
          feeds.watch(
            plan,
            last?.revision ?? null,
            (batch, revision) => say(written(batch, revision)),
            signal,
          );
        return { kind: 'told', framing: eventFormat, tell };
      },
    }),
  ];
}

const knownBytes = new WeakMap<PlanBatch, Map<bigint, Buffer>>();

/** Those who are equally far, and may go on from the same place, get the same bytes. */
function written(batch: PlanBatch, revision: bigint): Buffer {
  const known = knownBytes.get(batch) ?? new Map<bigint, Buffer>();
  knownBytes.set(batch, known);
  const bytes = known.get(revision) ?? Buffer.from(textOf(batch, revision));
  known.set(revision, bytes);
  return bytes;
}

/** Only after the last of them everything before that revision has been told. */
function textOf({ events }: PlanBatch, revision: bigint): string {
  return events
    .map((told, at) => {
      const event = { ...told, revision: undefined };
      const place = revision > 0n && at === events.length - 1 ? String(revision) : null;
      return eventFormat.item({ event, place });
    })
    .join('');
}

/**
 * The `Idempotency-Key` of a request: in the header, in quotes (draft-ietf-httpapi-idempotency-key-header) or without, or in
 * the body. @throws Refusal 400 when the two say different things
 */
export function keyOf(header: string, field: string | null): string | null {
  if (header === '') return field;
  const key = idempotencyKey.safeParse(header.replace(/^"(.*)"$/, '$1'));
  if (!key.success)
    throw new Refusal(400, 'invalid', `Idempotency-Key ${key.error.issues[0]?.message ?? 'is not right'}`);
  if (field === null || field === key.data) return key.data;
  throw new Refusal(400, 'invalid', `Idempotency-Key says "${key.data}", but the body "${field}"`);
}

/** Of what the plan says, however its body wrote it. */
export function digestOf(spec: PlanSpec): Digest {
  const text = JSON.stringify(spec, (_key, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}
