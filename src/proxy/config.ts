import type { ProxyConfig } from '../model/node-config.ts';
import { endpointText, NO_ENDPOINT, type Backend, type ProxyState } from './state.ts';

/** What of the configuration is fixed while the proxy runs; changing any of it takes a reload. */
export interface Settings {
  listen: Pick<ProxyConfig, 'host' | 'port'>;
  socket: string;
  connectionsMax: number;
  /** Whom the workers become; null = whoever starts them. */
  user: string | null;
  /** After which time a connection whose other end acknowledges nothing is given up. */
  unacknowledgedMs: number;
}

export const ROUTES_MAP = 'routes.map';
export const APPS_MAP = 'apps.map';
/** In the routes map once the proxy has been told the apps; no host name can look like this. */
export const INFORMED_KEY = '!informed';
/** The server of every backend that nobody answers at: requests wait in front of it while no instance is up. */
export const WAITING = 'waiting';

/** The files of the proxy's directory, by name: its configuration and the maps it loads. */
export function renderFiles(
  state: ProxyState,
  settings: Settings,
  identity: string,
): Record<'haproxy.cfg' | typeof ROUTES_MAP | typeof APPS_MAP, string> {
  const informed = state.informed ? [`${INFORMED_KEY} yes`] : [];
  return {
    'haproxy.cfg': [
      globalSection(settings, identity),
      defaultsSection,
      frontendSection(settings),
      ...state.backends.map(backend => backendSection(backend, settings)),
    ].join('\n'),
    [ROUTES_MAP]: lines([...informed, ...[...state.routes].map(([host, backend]) => `${host} ${backend}`)]),
    [APPS_MAP]: lines(state.backends.flatMap(({ name, app }) => (app === null ? [] : [`${name} ${app}`]))),
  };
}

function globalSection(settings: Settings, identity: string): string {
  return section('global', [
    `description ${identity}`,
    `stats socket ${settings.socket} mode 600 level admin`,
    'stats timeout 10s',
    'log stdout format raw local0 notice',
    'nbthread 2',
    `maxconn ${settings.connectionsMax}`,
    // Old workers that a reload left behind end their last connections within this time.
    'hard-stop-after 60s',
    ...(settings.user === null ? [] : [`user ${settings.user}`]),
  ]);
}

/**
 * Requests that may be repeated are sent to another instance when one dies under them. Connections to instances are
 * kept for less time than Node keeps them (5 s), so that a request rarely meets one that is just being closed.
 *
 * What makes the death of one of two instances, or of two of three, fail nothing (counted in test/cluster/traffic):
 * - `roundrobin`: `leastconn` sends everything to the dead first, as nobody is there; and after a refused connection
 *   only round robin goes on to the next instance without a turn-around of a second.
 * - `observe layer4`: three failed connections in a row, with none between that succeeded, take the instance out at
 *   once; the check that follows brings it back. Answers never count: what an app says is not the network's fault.
 * - `junk-response`: a connection to a dead port of this machine can meet itself, when the port is one that the kernel
 *   gives to outgoing connections; the proxy then reads its own request as the answer.
 * - `abortonclose`: a request that hangs an instance is not tried on all the others, one after the other as each is
 *   restarted, long after whoever asked has gone.
 * - `retries 10`: of those that ask when two of three instances die, one in four meets a dead one again with each retry,
 *   until both have been found out.
 *
 * Where no instance is up, requests are not turned away at once: the last resort of each backend is a server at a port
 * that refuses, and each of the retries there comes after a turn-around of 500 ms (`timeout connect`). So an app with a
 * single instance that restarts answers late, and one without any answers 503 after 5 s.
 */
const defaultsSection = section('defaults', [
  'mode http',
  'log global',
  'timeout http-request 10s',
  'timeout http-keep-alive 60s',
  'timeout client 60s',
  'timeout client-fin 30s',
  'timeout connect 500ms',
  'timeout check 2s',
  'timeout queue 5s',
  'timeout server 60s',
  'timeout tunnel 1h',
  'balance roundrobin',
  'option http-keep-alive',
  'http-reuse safe',
  'option forwardfor',
  'retries 10',
  'option redispatch 1',
  'retry-on conn-failure empty-response junk-response',
  'option abortonclose',
  httpError(502, 'The instance that was asked gave no valid answer.'),
  httpError(503, 'No instance of this app is ready.'),
  httpError(504, 'The instance that was asked did not answer in time.'),
]);

function frontendSection(settings: Settings): string {
  const { host, port } = settings.listen;
  const backend = 'var(txn.backend)';
  const unknown = `!{ ${backend} -m found }`;
  const informed = `{ str(${INFORMED_KEY}),map_str(${ROUTES_MAP}) -m found }`;
  return section('frontend apps', [
    `bind ${endpointText({ host: host === '*' ? '0.0.0.0' : host, port })}`,
    'no log',
    // During a reload kept connections end with their next answer, not under a request that is on its way.
    'option idle-close-on-response',
    'http-request set-var(txn.host) req.hdr(host),field(1,:),lower',
    `http-request set-var(txn.backend) var(txn.host),map_str(${ROUTES_MAP})`,
    `http-request set-var(txn.backend) var(txn.host),regsub(^[^.]+,*),map_str(${ROUTES_MAP}) if ${unknown}`,
    `http-request set-var(txn.backend) str(_),map_str(${ROUTES_MAP}) if ${unknown}`,
    `${answer(503, 'The proxy has just started and does not know the apps yet.')} if ${unknown} !${informed}`,
    `${answer(404, 'No app has the host name %[var(txn.host)].')} if ${unknown}`,
    // HAProxy loads a map only where something asks it; the agents keep in this one which app has which backend.
    `http-request set-var(txn.app) ${backend},map_str(${APPS_MAP})`,
    'http-request disable-l7-retry unless { method GET HEAD OPTIONS TRACE PUT DELETE }',
    // Whoever ends TLS before this proxy knows better.
    'http-request set-header X-Forwarded-Proto http unless { req.hdr(X-Forwarded-Proto) -m found }',
    `use_backend %[${backend}]`,
  ]);
}

/**
 * A plain TCP connect for all: the path that HTTP checks ask can't be changed at run time, and the agents probe the
 * apps' own paths anyway.
 */
const CHECKED = [
  'check inter 2s fastinter 50ms downinter 50ms fall 2 rise 1 pool-purge-delay 2s',
  'observe layer4 error-limit 3 on-error mark-down',
].join(' ');

function backendSection(backend: Backend, { unacknowledgedMs }: Settings): string {
  // Slots that drain finish their requests in the worker that a reload replaces; the new one gives them none.
  const servers = backend.slots.map(({ name, endpoint, state }) => {
    const isOn = state === 'ready' ? '' : ' disabled';
    return `server ${name} ${endpointText(endpoint)} ${CHECKED} tcp-ut ${unacknowledgedMs}ms${isOn}`;
  });
  const lastResort = `server ${WAITING} ${endpointText(NO_ENDPOINT)} backup`;
  return section(`backend ${backend.name}`, [...servers, lastResort]);
}

function answer(status: number, text: string): string {
  const type = 'content-type "text/plain; charset=utf-8"';
  const header = status === 503 ? 'hdr Retry-After 1' : 'hdr Cache-Control no-store';
  return `http-request return status ${status} ${type} ${header} lf-string "${text}\\n"`;
}

function httpError(status: number, text: string): string {
  const header = status === 503 ? ' hdr Retry-After 1' : '';
  return `http-error status ${status} content-type "text/plain; charset=utf-8" string "${text}\\n"${header}`;
}

function section(title: string, body: string[]): string {
  return lines([title, ...body.map(line => `  ${line}`)]);
}

function lines(all: string[]): string {
  return all.map(line => `${line}\n`).join('');
}
