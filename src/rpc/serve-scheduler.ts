import { createHash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { status, type UntypedServiceImplementation } from '@grpc/grpc-js';
import type { z } from 'zod';
import type { Digest } from '../model/ids.ts';
import type { PlanSpec } from '../model/plan.ts';
import type { Blobs } from '../ports/blobs.ts';
import type { PlanBatch, PlanFeeds } from '../ports/plan-feeds.ts';
import type { Plans } from '../ports/plans.ts';
import {
  bidi,
  received,
  sent,
  serverStream,
  unary,
  type CallTools,
  type DuplexCall,
  type Send,
} from './calls.ts';
import { messages, methodOf, services } from './descriptors.ts';
import { planSpecOf } from './read-plan.ts';
import { read, requests } from './read-requests.ts';
import { refusalOf } from './refusal.ts';
import { changeMessageOf, planMessageOf, stepMessageOf } from './views.ts';

export interface SchedulerParts {
  plans: Plans;
  feeds: PlanFeeds;
  blobs: Blobs;
}

/** Plans of one stream that are being accepted at once. */
const MOST_AT_ONCE = 16;
const STEPS_A_PAGE = 500;
const PIECE_BYTES = 256 * 1024;

/** A watch's replies come encoded: those who are equally far get the same bytes. */
export const schedulerDefinition = {
  ...services.scheduler,
  Watch: { ...methodOf(services.scheduler, 'Watch'), responseSerialize: (reply: Buffer) => reply },
};

export function schedulerService(
  tools: CallTools,
  { plans, feeds, blobs }: SchedulerParts,
): UntypedServiceImplementation {
  return {
    Submit: unary(tools, requests.submit, submit, status.ALREADY_EXISTS),
    SubmitStream: bidi(tools, submitMany),
    GetPlan: unary(tools, requests.ofPlan, async ({ plan }) => planMessageOf(await plans.plan(plan))),
    ListPlans: unary(tools, requests.list, async ({ limit, ...filter }) => {
      const { items, next, revision } = await plans.list({ ...given(filter), limit });
      return { plans: items.map(planMessageOf), next, revision };
    }),
    ListSteps: serverStream(tools, requests.steps, listSteps),
    ReadOutput: serverStream(tools, requests.output, readOutput),
    Watch: serverStream(tools, requests.watch, watch),
    Cancel: unary(tools, requests.cancel, async ({ plan, by }) =>
      planMessageOf(await plans.cancel(plan, by === '' ? 'a client of gRPC' : by)),
    ),
    Retry: unary(tools, requests.retry, async ({ plan, steps: only }) =>
      planMessageOf(await plans.retry(plan, only.length > 0 ? only : null)),
    ),
  };

  async function submit({ plan, idempotencyKey }: z.output<typeof requests.submit>): Promise<object> {
    const spec = await planSpecOf(plan, blobs);
    const submitted = await plans.submit({ spec, idempotencyKey, digest: digestOf(spec), origin: 'grpc' });
    return { plan: planMessageOf(submitted.plan), created: submitted.created };
  }

  async function submitMany(call: DuplexCall, gone: AbortSignal): Promise<void> {
    const failed = new AbortController();
    const signal = AbortSignal.any([gone, failed.signal]);
    setMaxListeners(0, signal);
    const underWay = new Set<Promise<void>>();
    for await (const message of received(call, signal)) {
      const one = submitOne(message)
        .then(reply => sent(call, reply, signal))
        .catch((error: unknown) => failed.abort(error))
        .finally(() => underWay.delete(one));
      underWay.add(one);
      // Nothing more is read before one of them is done and its reply taken.
      if (underWay.size >= MOST_AT_ONCE) await Promise.race(underWay);
    }
    await Promise.all(underWay);
    if (failed.signal.aborted) throw failed.signal.reason;
  }

  /** What is wrong with one plan ends nothing. */
  async function submitOne(message: unknown): Promise<object> {
    const clientRef = refOf(message);
    try {
      return { clientRef, submitted: await submit(read(requests.submit, message)) };
    } catch (error) {
      const refusal = refusalOf(error, status.ALREADY_EXISTS);
      if (refusal === null) throw error;
      const { code, message: words, problems } = refusal;
      return { clientRef, failure: { code, message: words, problems } };
    }
  }

  async function listSteps(
    { plan, states, first, limit }: z.output<typeof requests.steps>,
    send: Send,
    signal: AbortSignal,
  ): Promise<void> {
    let left = limit === 0 ? Infinity : limit;
    for (let from = first; left > 0 && !signal.aborted;) {
      const page = Math.min(left, STEPS_A_PAGE);
      const { items } = await plans.steps(plan, given({ states, first: from, limit: page }));
      for (const step of items) await send(stepMessageOf(step));
      left -= items.length;
      if (items.length < page) return;
      from = (items.at(-1)?.index ?? 0) + 1;
    }
  }

  async function readOutput(
    { plan, index }: z.output<typeof requests.output>,
    send: Send,
    signal: AbortSignal,
  ): Promise<void> {
    const bytes = (await plans.output(plan, index, signal)) ?? new Uint8Array();
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      await send({ data: bytes.subarray(at, at + PIECE_BYTES) });
    }
  }

  function watch(
    { plan, fromRevision }: z.output<typeof requests.watch>,
    send: Send,
    signal: AbortSignal,
  ): Promise<void> {
    const from = BigInt(fromRevision);
    return feeds.watch(plan, from, (batch, revision) => send(encoded(batch, revision)), signal);
  }
}

const knownBytes = new WeakMap<PlanBatch, Uint8Array>();

/** An encoded message is the fields of it in a row: those that all watchers hear, then where this one may go on. */
function encoded(batch: PlanBatch, revision: bigint): Buffer {
  const known = knownBytes.get(batch);
  const changes = known ?? messages.watchReply.serialize({ changes: batch.events.map(changeMessageOf) });
  if (known === undefined) knownBytes.set(batch, changes);
  return Buffer.concat([changes, messages.watchReply.serialize({ revision: String(revision) })]);
}

/** Of the plan as it was understood, however it was put. */
function digestOf(spec: PlanSpec): Digest {
  const text = JSON.stringify(spec, (_key, value: unknown) => (isTable(value) ? inOrder(value) : value));
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}

function inOrder(table: object): object {
  return Object.fromEntries(Object.entries(table).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function isTable(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function refOf(message: unknown): string {
  return isTable(message) && 'clientRef' in message ? String(message.clientRef) : '';
}

type Given<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Without what is undefined. */
function given<T extends object>(fields: T): Given<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Given<T>;
}
