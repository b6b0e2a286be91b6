import type { AppName } from '../model/ids.ts';
import type { Endpoint } from '../model/node-promise.ts';

/**
 * What the running proxy does: backends prepared at its start, each with server slots, given to apps and instances at
 * run time. All of it is read back from the proxy, so nothing has to be remembered between two rounds.
 */
export interface ProxyState {
  /** False until the first round: the proxy has just started and does not know which apps there are. */
  informed: boolean;
  /** In the order of their numbers. */
  backends: Backend[];
  /** Host name (lower case; `*.example.com` one label; `_` everything else) to backend name. */
  routes: Map<string, string>;
}

export interface Backend {
  /** `b1`, `b2`, … */
  name: string;
  /** null = free. */
  app: AppName | null;
  slots: Slot[];
}

export interface Slot {
  /** `s1`, `s2`, … */
  name: string;
  endpoint: Endpoint;
  /** `maint` = not in use. */
  state: SlotState;
  /** Whether a request is still using it; only meaningful in `maint`. */
  busy: boolean;
}

export type SlotState = 'ready' | 'drain' | 'maint';

/** One change of the running proxy. */
export type Command = { reason: string } & (
  | { kind: 'inform' }
  | { kind: 'claim'; backend: string; app: AppName }
  | { kind: 'free'; backend: string }
  /** Cuts what still uses the slot. */
  | { kind: 'evict'; backend: string; slot: string }
  | { kind: 'address'; backend: string; slot: string; endpoint: Endpoint }
  | { kind: 'state'; backend: string; slot: string; state: SlotState }
  | { kind: 'route'; host: string; backend: string; isNew: boolean }
  | { kind: 'unroute'; host: string }
);

/** The address of slots that never had one; it refuses whatever is sent there. */
export const NO_ENDPOINT: Endpoint = { host: '127.0.0.1', port: 1 };

export function emptyState(backends: number, slots: number): ProxyState {
  return grown({ informed: false, backends: [], routes: new Map() }, backends, slots);
}

/** The same state with at least so many backends, and slots in each. */
export function grown(state: ProxyState, backends: number, slots: number): ProxyState {
  const count = Math.max(backends, state.backends.length);
  return {
    ...state,
    backends: Array.from({ length: count }, (_, index) => {
      const before = state.backends[index] ?? { name: `b${index + 1}`, app: null, slots: [] };
      const more = Array.from(
        { length: Math.max(0, slots - before.slots.length) },
        (_unused, extra): Slot => ({
          name: `s${before.slots.length + extra + 1}`,
          endpoint: NO_ENDPOINT,
          state: 'maint',
          busy: false,
        }),
      );
      return { ...before, slots: [...before.slots, ...more] };
    }),
  };
}

/** The state after one command: what the proxy itself makes of it. */
export function performed(state: ProxyState, command: Command): ProxyState {
  switch (command.kind) {
    case 'inform':
      return { ...state, informed: true };
    case 'claim':
      return withBackend(state, command.backend, backend => ({ ...backend, app: command.app }));
    case 'free':
      return withBackend(state, command.backend, backend => ({ ...backend, app: null }));
    case 'evict':
      return withSlot(state, command, slot => ({ ...slot, busy: false }));
    case 'address':
      return withSlot(state, command, slot => ({ ...slot, endpoint: command.endpoint }));
    case 'state':
      return withSlot(state, command, slot => ({ ...slot, state: command.state }));
    case 'route':
      return { ...state, routes: new Map(state.routes).set(command.host, command.backend) };
    case 'unroute':
      return { ...state, routes: new Map([...state.routes].filter(([host]) => host !== command.host)) };
  }
}

export function endpointText(endpoint: Endpoint): string {
  return endpoint.host.includes(':')
    ? `[${endpoint.host}]:${endpoint.port}`
    : `${endpoint.host}:${endpoint.port}`;
}

function withBackend(state: ProxyState, name: string, change: (backend: Backend) => Backend): ProxyState {
  return {
    ...state,
    backends: state.backends.map(backend => (backend.name === name ? change(backend) : backend)),
  };
}

function withSlot(
  state: ProxyState,
  where: { backend: string; slot: string },
  change: (slot: Slot) => Slot,
): ProxyState {
  return withBackend(state, where.backend, backend => ({
    ...backend,
    slots: backend.slots.map(slot => (slot.name === where.slot ? change(slot) : slot)),
  }));
}
