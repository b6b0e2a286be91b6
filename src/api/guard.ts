import { createHash, timingSafeEqual } from 'node:crypto';
import type { Context } from 'koa';
import { isLoopback } from '../model/node-config.ts';
import { Refusal } from './refusal.ts';

export interface GuardRules {
  /** Where the TCP server listens. */
  host: string;
  /** Empty = none is asked for. */
  tokens: string[];
}

/**
 * Liveness says nothing about the cluster, and whoever restarts agents has no token. A new node brings a join token
 * instead, once it has seen the authority's certificate, which is no secret.
 */
const OPEN_PATHS = new Set(['/healthz', '/v1/authority', '/v1/authority/enrolments']);
const READING = new Set(['GET', 'HEAD', 'OPTIONS']);

/**
 * Who may ask over TCP. On loopback a web page could still reach us through the browser: by a name of its own that it
 * points at 127.0.0.1 (so the Host header must be a loopback name), or by posting blindly (so an Origin must be ours).
 */
export function tcpGuard(rules: GuardRules): (ctx: Context) => void {
  const hashes = rules.tokens.map(sha256);
  const loopbackOnly = isLoopback(rules.host);
  return ctx => {
    if (loopbackOnly && !isLoopback(hostnameOf(ctx.get('host')))) {
      throw new Refusal(403, 'refused', `this agent answers on loopback only, not as "${ctx.get('host')}"`);
    }
    const origin = ctx.get('origin');
    const own = `${ctx.protocol}://${ctx.get('host')}`;
    if (origin !== '' && origin !== own && !READING.has(ctx.method)) {
      throw new Refusal(403, 'refused', `a page of ${origin} may not change anything here`);
    }
    if (hashes.length > 0 && !OPEN_PATHS.has(ctx.path)) checkToken(ctx.get('authorization'), hashes);
  };
}

/** Hashes have one length and no resemblance, so the time a comparison takes tells nothing. */
function checkToken(authorization: string, hashes: Buffer[]): void {
  const given = /^Bearer +(\S+) *$/i.exec(authorization)?.[1];
  const hash = sha256(given ?? '');
  const known = hashes.filter(other => timingSafeEqual(hash, other)).length > 0;
  if (given !== undefined && known) return;
  const detail = given === undefined ? 'a bearer token is needed' : 'the bearer token is not known here';
  throw new Refusal(401, 'unauthenticated', detail, { headers: { 'www-authenticate': 'Bearer' } });
}

function hostnameOf(hostHeader: string): string {
  return URL.canParse(`http://${hostHeader}`) ? new URL(`http://${hostHeader}`).hostname : '';
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
