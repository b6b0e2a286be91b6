import {
  credentials,
  makeClientConstructor,
  Metadata,
  status,
  type CallOptions,
  type ChannelCredentials,
  type Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ServiceError,
} from '@grpc/grpc-js';
import type { ExecutionContext } from 'ava';
import { outputOf } from '../../src/drivers/step-output.ts';
import { stepAgents } from '../../src/drivers/step-agents.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { messages, services } from '../../src/rpc/descriptors.ts';
import { startRpc, type RpcOptions } from '../../src/rpc/server.ts';
import { FakeBlobs } from '../support/fake-blobs.ts';
import { FakeLog } from '../support/fake-log.ts';
import { FakePlans } from '../support/fake-plans.ts';
import { FakeRandom } from '../support/fake-random.ts';
import { planFeeds } from '../support/plan-feeds.ts';

/** A server over plans in memory, and whatever a test asks it with. */
export async function rpcWorld(t: ExecutionContext, options: Partial<RpcOptions> = {}) {
  const clock = systemClock();
  const blobs = new FakeBlobs(clock);
  const plans = new FakePlans();
  const feeds = planFeeds(plans);
  const log = new FakeLog();
  const roster = stepAgents([], { blobs });
  const server = await startRpc({
    node: 'node-1',
    listen: { host: '127.0.0.1', port: 0, tls: null },
    tokens: [],
    plans,
    feeds,
    blobs,
    roster,
    keepOutput: content => outputOf(content, blobs),
    ready: () => true,
    clock,
    random: new FakeRandom(),
    log,
    ...options,
  });
  const world = {
    server,
    plans,
    feeds,
    blobs,
    roster,
    log,
    clock,
    client: (of: Service) => client(t, server.address, of),
  };
  t.teardown(() => server.close());
  return world;
}

type Service = keyof typeof services;

/** Closed at the end of the test. */
export function client(
  t: ExecutionContext,
  address: string,
  of: Service,
  as: ChannelCredentials = credentials.createInsecure(),
): RpcClient {
  const Made = makeClientConstructor(services[of], of);
  const made = new Made(address, as, { 'grpc.use_local_subchannel_pool': 1 });
  t.teardown(() => made.close());
  return new RpcClient(made);
}

export type Message = Record<string, unknown>;
type Method<R> = (...args: unknown[]) => R;

/** Any client of a .proto: methods by their names. */
export class RpcClient {
  private readonly client: Client;
  private readonly metadata = new Metadata();

  constructor(made: Client) {
    this.client = made;
  }

  withToken(token: string): this {
    this.metadata.set('authorization', `Bearer ${token}`);
    return this;
  }

  /** @throws ServiceError */
  call(method: string, request: Message = {}, options: CallOptions = {}): Promise<Message> {
    return new Promise((resolve, reject) => {
      const answered = (error: ServiceError | null, reply: Message) =>
        error === null ? resolve(reply) : reject(error);
      this.method<unknown>(method)(request, this.metadata, options, answered);
    });
  }

  stream(method: string, request: Message, options: CallOptions = {}): ClientReadableStream<Message> {
    return this.method<ClientReadableStream<Message>>(method)(request, this.metadata, options);
  }

  both(method: string): ClientDuplexStream<Message, Message> {
    return this.method<ClientDuplexStream<Message, Message>>(method)(this.metadata);
  }

  /** All that a stream sends until it ends. @throws ServiceError */
  async all(method: string, request: Message): Promise<Message[]> {
    const found: Message[] = [];
    for await (const message of this.stream(method, request)) found.push(message as Message);
    return found;
  }

  private method<R>(name: string): Method<R> {
    const method = (this.client as unknown as Record<string, Method<R>>)[name];
    if (method === undefined) throw new TypeError(`no method ${name}`);
    return method.bind(this.client);
  }
}

/** The status that a call ends with, and the problems that come along. */
export async function refusal(
  call: Promise<unknown>,
): Promise<{ code: string; details: string; problems: Message[] }> {
  const error = await call.then(
    () => null,
    (reason: unknown) => reason as ServiceError,
  );
  if (error === null) throw new Error('it was not refused');
  const [bytes] = error.metadata.get('grpc-status-details-bin');
  return {
    code: status[error.code],
    details: error.details,
    problems: bytes ? problemsIn(bytes as Buffer) : [],
  };
}

function problemsIn(bytes: Buffer): Message[] {
  const { details } = messages.status.deserialize(bytes) as { details: { value: Buffer }[] };
  return details.flatMap(({ value }) => {
    const { fieldViolations } = messages.badRequest.deserialize(value) as { fieldViolations: Message[] };
    return fieldViolations;
  });
}

/** How a stream ends. */
export function endOf(stream: ClientReadableStream<Message>): Promise<{ code: string; details: string }> {
  stream.on('error', () => undefined);
  stream.resume();
  return new Promise(resolve =>
    stream.on('status', ({ code, details }) => resolve({ code: status[code], details })),
  );
}

export function noopPlan(steps = 1, more: Message = {}): Message {
  return { steps: Array.from({ length: steps }, () => ({ task: { agent: 'noop' } })), ...more };
}
