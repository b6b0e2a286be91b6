import { setMaxListeners } from 'node:events';
import type { IncomingMessage, RequestListener, Server } from 'node:http';
import Router from '@koa/router';
import Koa, { type Context, type Next } from 'koa';
import { isLoopback, type ListenConfig } from '../model/node-config.ts';
import type { Admin } from '../ports/admin.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { type AnswerTools, refusalToSend, sendAnswer, sendRefusal } from './answer.ts';
import type { BodyLimits } from './body.ts';
import { tcpGuard } from './guard.ts';
import { closeServer, listenSocket, listenTcp, untilBodyStalls, urlOf } from './listen.ts';
import { Refusal } from './refusal.ts';
import type { Route } from './route.ts';
import { allRoutes } from './routes/all.ts';
import type { StreamLimits } from './stream.ts';

type ApiLimits = BodyLimits & StreamLimits;

export interface RequestInfo {
  method: string;
  /** The route's path with its placeholders, or `unmatched`. */
  route: string;
  status: number;
  /** Until the answer's head; a stream's own life is not counted. */
  durationMs: number;
}

export interface AdminApiOptions {
  admin: Admin;
  listen: ListenConfig;
  /** Path of a unix socket to listen on as well; asking there needs no token. */
  socket: string | null;
  /** Empty = whoever reaches the port may ask; only on loopback. */
  tokens: string[];
  log: Log;
  clock: Clock;
  limits?: Partial<ApiLimits>;
  extraRoutes?: Route[];
  onRequest?: (info: RequestInfo) => void;
}

export interface AdminApi {
  url: string;
  /** Ends streams and connections; resolves within about a second. */
  close(): Promise<void>;
}

const CLOSE_GRACE_MS = 800;
const DEFAULT_LIMITS: ApiLimits = {
  documentBytes: 1_048_576,
  planBytes: 32 * 1_048_576,
  artifactBytes: 512 * 1_048_576,
  heartbeatMs: 15_000,
  stallMs: 30_000,
  waitingBytes: 8 * 1_048_576,
};

/** @throws Error when it may not listen there, or can't */
export async function startAdminApi(options: AdminApiOptions): Promise<AdminApi> {
  const { listen, tokens, clock, log } = options;
  checkExposure(listen, tokens);
  const closing = new AbortController();
  // One for each request.
  setMaxListeners(0, closing.signal);
  const throughSocket = new WeakSet<IncomingMessage>();
  const koa = application(options, closing.signal, throughSocket);
  // Koa answers every error itself; its promise has nothing more to say.
  const handler = untilBodyStalls(
    (request, response) => void koa(request, response),
    { ...DEFAULT_LIMITS, ...options.limits }.stallMs,
  );

  const servers: Server[] = [await listenTcp(listen, handler)];
  const close = async () => {
    closing.abort();
    await Promise.all(servers.map(server => closeServer(server, clock, CLOSE_GRACE_MS)));
  };
  if (options.socket !== null) {
    try {
      const marked: RequestListener = (request, response) => {
        throughSocket.add(request);
        handler(request, response);
      };
      servers.push(await listenSocket(options.socket, marked));
    } catch (error) {
      await close();
      throw error;
    }
  }
  const url = urlOf(servers[0] as Server, listen);
  log.info('the admin API listens', { url, socket: options.socket });
  return { url, close };
}

function checkExposure(listen: ListenConfig, tokens: string[]): void {
  if (isLoopback(listen.host)) return;
  const missing = [listen.tls === null ? 'TLS' : '', tokens.length === 0 ? 'a token' : ''].filter(Boolean);
  if (missing.length === 0) return;
  throw new Error(
    `the admin API will not listen on ${listen.host} without ${missing.join(' and ')}: ` +
      'set admin.tls and admin.tokens, or listen on 127.0.0.1',
  );
}

function application(
  options: AdminApiOptions,
  closing: AbortSignal,
  throughSocket: WeakSet<IncomingMessage>,
): ReturnType<Koa['callback']> {
  const { clock, log } = options;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const guard = tcpGuard({ host: options.listen.host, tokens: options.tokens });
  const app = new Koa();
  app.on('error', (error: Error, ctx?: Context) => noteLateError(error, ctx, log));

  app.use(async (ctx: Context, next: Next) => {
    const startedMs = clock.now();
    ctx.set(securityHeaders);
    try {
      if (!throughSocket.has(ctx.req)) guard(ctx);
      await next();
      refuseUnanswered(ctx);
    } catch (error) {
      sendRefusal(ctx, refusalToSend(error, log));
    }
    const route = (ctx.state['route'] as string | undefined) ?? 'unmatched';
    const durationMs = clock.now() - startedMs;
    options.onRequest?.({ method: ctx.method, route, status: ctx.status, durationMs });
  });

  const routes = allRoutes(options.admin, options.extraRoutes ?? []);
  const router = mount(routes, limits, { clock, log, limits }, closing);
  app.use(router.routes()).use(router.allowedMethods());
  return app.callback();
}

function mount(routes: Route[], limits: BodyLimits, tools: AnswerTools, closing: AbortSignal): Router {
  const router = new Router();
  for (const route of routes) {
    router[route.method](routerPath(route.path), async (ctx: Context) => {
      ctx.state['route'] = route.path;
      const signal = signalOf(ctx, closing);
      await sendAnswer(ctx, await route.handle(ctx, limits, signal), tools, signal);
    });
  }
  return router;
}

/** `{name}` and `{name*}` as path-to-regexp writes them. */
function routerPath(path: string): string {
  return path.replace(/\{(\w+)\*\}/g, '*$1').replace(/\{(\w+)\}/g, ':$1');
}

function signalOf(ctx: Context, closing: AbortSignal): AbortSignal {
  const gone = new AbortController();
  const stop = () => {
    closing.removeEventListener('abort', stop);
    gone.abort(new Error('the client is gone or the server closes'));
  };
  ctx.res.once('close', stop);
  closing.addEventListener('abort', stop);
  if (closing.aborted) stop();
  return gone.signal;
}

/** The router leaves a bare status when no route or no method fits. */
function refuseUnanswered(ctx: Context): void {
  if (ctx.body !== undefined && ctx.body !== null) return;
  if (ctx.status === 404)
    throw new Refusal(404, 'not-found', `there is nothing at ${ctx.path}; see /openapi.json`);
  if (ctx.status === 405 || ctx.status === 501) {
    const allow = ctx.response.get('allow');
    throw new Refusal(
      405,
      'method-not-allowed',
      `${ctx.method} is not for ${ctx.path}; ${allow || 'nothing'} is`,
    );
  }
}

/** Errors after the head was sent: a client that left is none. */
function noteLateError(error: Error & { code?: string }, ctx: Context | undefined, log: Log): void {
  const left =
    ctx?.res.destroyed === true || error.code === 'ERR_STREAM_PREMATURE_CLOSE' || error.code === 'ECONNRESET';
  if (left) log.debug('a client left before its answer ended', { path: ctx?.path });
  else log.error('an answer broke off', { path: ctx?.path, error });
}

const securityHeaders = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'content-security-policy':
    "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
};
