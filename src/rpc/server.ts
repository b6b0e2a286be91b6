import { setMaxListeners } from 'node:events';
import { readFile } from 'node:fs/promises';
import { Server, ServerCredentials, type ServerOptions } from '@grpc/grpc-js';
import { isLoopback, type ListenConfig } from '../model/node-config.ts';
import type { StepOutput } from '../model/plan.ts';
import type { Blobs } from '../ports/blobs.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { PlanFeeds } from '../ports/plan-feeds.ts';
import type { Plans } from '../ports/plans.ts';
import type { Random } from '../ports/random.ts';
import type { StepAgentRoster } from '../ports/step-agents.ts';
import { tokenGuard } from './access.ts';
import type { CallInfo, CallTools } from './calls.ts';
import { deadlineGuard } from './deadline-guard.ts';
import { services } from './descriptors.ts';
import { healthService } from './serve-health.ts';
import { reflectionDefinitions, reflectionService } from './serve-reflection.ts';
import { schedulerDefinition, schedulerService } from './serve-scheduler.ts';
import { workService } from './serve-work.ts';
import type { ResultVerdict, WorkTimes } from './worker.ts';
import { Workers } from './workers.ts';

export interface RpcOptions {
  node: string;
  listen: ListenConfig;
  /** Empty = whoever reaches the port may ask; only on loopback. */
  tokens: readonly string[];
  plans: Plans;
  feeds: PlanFeeds;
  blobs: Blobs;
  /** Where connected workers are offered. */
  roster: StepAgentRoster;
  /** Puts what is too large for a step's record elsewhere. */
  keepOutput: (content: { mimeType: string; bytes: Uint8Array }) => Promise<StepOutput | null>;
  ready: () => boolean;
  clock: Clock;
  random: Random;
  log: Log;
  times?: Partial<WorkTimes>;
  meter?: Partial<RpcMeter>;
}

export interface RpcMeter {
  onCall: (info: CallInfo) => void;
  /** A worker said what became of an attempt, and this is what it was told. */
  onResult: (verdict: ResultVerdict) => void;
}

export interface RpcServer {
  /** `HOST:PORT` */
  address: string;
  workers(): number;
  /** Assigns nothing more to workers, and asks them to go elsewhere. What they do goes on. */
  drain(): void;
  /** Ends all streams; what workers do has failed. Resolves within about a second. */
  close(): Promise<void>;
}

const DEFAULT_TIMES: WorkTimes = { silenceMs: 8000, resumeMs: 5000, stopMs: 10_000 };
/** What a node has to hand over to the next agent, or to leave. */
const DRAIN_MS = 10_000;
const CLOSE_GRACE_MS = 500;

/**
 * One message may hold a plan with its payloads (as much as the admin API takes); a connection may carry so many streams, of
 * which there may be many more in all. A half-open connection is found out within half a minute.
 */
const LIMITS: ServerOptions = {
  'grpc.max_receive_message_length': 32 * 1_048_576,
  'grpc.max_send_message_length': -1,
  'grpc.max_concurrent_streams': 2000,
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 10_000,
};

const PACKAGE = 'hop3.agent.v1';
const OWN = [`${PACKAGE}.Scheduler`, `${PACKAGE}.Work`];

/** Plans and workers over gRPC. @throws Error when it may not listen there, or can't */
export async function startRpc(options: RpcOptions): Promise<RpcServer> {
  const { listen, tokens, plans, feeds, blobs, roster, keepOutput, clock, random, log, node } = options;
  checkExposure(listen, tokens);
  const closing = new AbortController();
  // One for each call.
  setMaxListeners(0, closing.signal);
  const onCall = options.meter?.onCall ?? (() => undefined);
  const tools: CallTools = { log, clock, closing: closing.signal, onCall };
  const times = { ...DEFAULT_TIMES, ...options.times };
  const onResult = options.meter?.onResult ?? (() => undefined);
  const workers = new Workers({ node, roster, keepOutput, clock, random, log, times, onResult });

  const server = new Server({ ...LIMITS, interceptors: [tokenGuard(tokens), deadlineGuard] });
  server.addService(schedulerDefinition, schedulerService(tools, { plans, feeds, blobs }));
  server.addService(services.work, workService(tools, workers, times));
  server.addService(services.health, healthService(tools, { ready: options.ready, names: OWN }));
  const reflected = [...OWN, 'grpc.health.v1.Health', 'grpc.reflection.v1.ServerReflection'];
  const reflection = reflectionService(tools, reflected);
  for (const definition of reflectionDefinitions) server.addService(definition, reflection);

  const address = await bound(server, listen);
  log.info('gRPC listens', { address });
  return {
    address,
    workers: () => workers.size,
    drain: () => workers.drain(`${node} stops`, DRAIN_MS),
    close: async () => {
      workers.close();
      closing.abort();
      await shutDown(server, clock);
    },
  };
}

function checkExposure(listen: ListenConfig, tokens: readonly string[]): void {
  if (isLoopback(listen.host)) return;
  const missing = [listen.tls === null ? 'TLS' : '', tokens.length === 0 ? 'a token' : ''].filter(Boolean);
  if (missing.length === 0) return;
  throw new Error(
    `gRPC will not listen on ${listen.host} without ${missing.join(' and ')}: ` +
      'set rpc.tls and rpc.tokens, or listen on 127.0.0.1',
  );
}

async function bound(server: Server, listen: ListenConfig): Promise<string> {
  const credentials = await credentialsOf(listen);
  const bare = listen.host.replace(/^\[|\]$/g, '');
  const host = bare.includes(':') ? `[${bare}]` : bare;
  return new Promise((resolve, reject) => {
    server.bindAsync(`${host}:${listen.port}`, credentials, (error, port) => {
      if (error === null) resolve(`${host}:${port}`);
      else
        reject(
          new Error(`gRPC can't listen on ${host}:${listen.port}: ${error.message}`, { cause: coded(error) }),
        );
    });
  });
}

/** What is known of it only by its words, as whoever else listens says it. */
function coded(error: Error): Error {
  return error.message.includes('EADDRINUSE') ? Object.assign(error, { code: 'EADDRINUSE' }) : error;
}

async function credentialsOf({ tls }: ListenConfig): Promise<ServerCredentials> {
  if (tls === null) return ServerCredentials.createInsecure();
  const [cert, key] = await Promise.all([readFile(tls.cert, 'utf8'), readFile(tls.key)]);
  // Sent along with the certificate, for clients that know only who signed the signer.
  const ca = tls.ca === undefined ? '' : await readFile(tls.ca, 'utf8');
  return ServerCredentials.createSsl(null, [{ cert_chain: Buffer.from(`${cert}\n${ca}`), private_key: key }]);
}

/** Lets last words out for a moment, then cuts off. */
/** Of a connection that is just going, nobody may ever say that it has gone: after the grace that is not waited for. */
function shutDown(server: Server, clock: Clock): Promise<void> {
  return new Promise<void>(resolve => {
    const cancel = clock.after(CLOSE_GRACE_MS, () => {
      server.forceShutdown();
      resolve();
    });
    server.tryShutdown(() => {
      cancel();
      resolve();
    });
  });
}
