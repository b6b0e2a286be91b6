import type { AppName } from '../model/ids.ts';
import type { Endpoint } from '../model/node-promise.ts';
import type { Pool } from '../model/traffic.ts';
import { endpointText, performed, type Backend, type Command, type ProxyState, type Slot } from './state.ts';

export type Plan =
  | { kind: 'commands'; commands: Command[] }
  /** The prepared backends or slots do not suffice: these many would. */
  | { kind: 'grow'; backends: number; slots: number; reason: string };

/**
 * What must change for the proxy to do what the pools say. Applied to the state it leads to, it asks for nothing.
 * Instances are added before routes lead to them, and others are taken out last, so that at no point between two
 * commands an app that has ready instances before and after has none. A backend never serves two apps.
 *
 * Endpoint hosts must be IP addresses. An app without host names has no traffic and gets no backend.
 */
export function plan(pools: Pool[], state: ProxyState): Plan {
  const wanted = wantedPools(pools);
  const claims = claimBackends(wanted, state);
  if (claims === null) {
    return {
      kind: 'grow',
      backends: state.backends.length + wanted.length,
      slots: slotCount(state),
      reason: `${wanted.length} apps have host names, ${state.backends.length} backends are prepared`,
    };
  }
  const commands = [...claims.commands];
  const claimed = commands.reduce(performed, state);
  const placed = wanted.flatMap((pool): PlacedPool[] => {
    const backend = claimed.backends.find(({ app }) => app === pool.app);
    return backend === undefined ? [] : [{ pool, backend }];
  });

  for (const { pool, backend } of placed) {
    const adding = addServers(pool, backend);
    if (adding === null) {
      return {
        kind: 'grow',
        backends: state.backends.length,
        slots: 2 * Math.max(slotCount(state), pool.servers.length),
        reason: `${pool.app} needs more than the ${slotCount(state)} prepared slots`,
      };
    }
    commands.push(...adding);
  }
  commands.push(
    ...changeRoutes(wantedRoutes(placed, state), state),
    ...placed.flatMap(({ pool, backend }) => drainServers(pool, backend)),
    ...removeServers(placed, claimed),
    ...freeBackends(placed, claimed),
  );
  if (!state.informed) commands.push({ kind: 'inform', reason: 'all pools are in place' });
  return { kind: 'commands', commands };
}

/** A pool and the backend that is its app's: the first of that name, should an interrupted round have left two. */
interface PlacedPool {
  pool: Pool;
  backend: Backend;
}

function slotCount(state: ProxyState): number {
  return Math.max(1, ...state.backends.map(backend => backend.slots.length));
}

/** By app name, so that the same pools in any order give the same plan. Of two servers at one address, ready wins. */
function wantedPools(pools: Pool[]): Pool[] {
  return pools
    .filter(pool => pool.hostnames.length > 0)
    .sort((one, other) => (one.app < other.app ? -1 : 1))
    .map(pool => ({ ...pool, servers: distinctServers(pool.servers) }));
}

function distinctServers(servers: Pool['servers']): Pool['servers'] {
  const byAddress = new Map<string, Pool['servers'][number]>();
  for (const server of servers) {
    const address = endpointText(server.endpoint);
    if (byAddress.get(address)?.state !== 'ready') byAddress.set(address, server);
  }
  return [...byAddress.values()];
}

/** null when there are fewer backends than apps. */
function claimBackends(wanted: Pool[], state: ProxyState): { commands: Command[] } | null {
  const holders = new Set(state.backends.map(backend => backend.app));
  // One that is quiet first: requests of its last app may still be running in the others.
  const free = state.backends
    .filter(backend => backend.app === null)
    .sort((one, other) => Number(isBusy(one)) - Number(isBusy(other)));
  const commands: Command[] = [];
  for (const { app } of wanted.filter(pool => !holders.has(pool.app))) {
    const backend = free.shift();
    if (backend === undefined) return null;
    commands.push(
      ...backend.slots.filter(isUsed).map(slot => ({
        kind: 'state' as const,
        backend: backend.name,
        slot: slot.name,
        state: 'maint' as const,
        reason: 'left over in a backend without an app',
      })),
      { kind: 'claim', backend: backend.name, app, reason: `${app} has host names and no backend yet` },
    );
  }
  return { commands };
}

/** null when there are fewer slots than servers. */
function addServers(pool: Pool, backend: Backend): Command[] | null {
  const commands: Command[] = [];
  const taken = new Set<string>();
  for (const server of pool.servers) {
    const slot = slotAt(backend, server.endpoint);
    if (slot !== undefined) taken.add(slot.name);
  }
  for (const server of pool.servers.filter(({ state }) => state === 'ready')) {
    const known = slotAt(backend, server.endpoint);
    if (known?.state === 'ready') continue;
    const slot = known ?? freeSlot(backend, taken);
    if (slot === undefined) return null;
    taken.add(slot.name);
    const where = { backend: backend.name, slot: slot.name };
    if (known === undefined) {
      if (slot.busy) {
        commands.push({ kind: 'evict', ...where, reason: `${server.instance} needs the slot` });
      }
      const reason = `${server.instance} listens at ${endpointText(server.endpoint)}`;
      commands.push({ kind: 'address', ...where, endpoint: server.endpoint, reason });
    }
    commands.push({ kind: 'state', ...where, state: 'ready', reason: `${server.instance} is ready` });
  }
  return commands;
}

function drainServers(pool: Pool, backend: Backend): Command[] {
  return pool.servers
    .filter(({ state }) => state === 'drain')
    .flatMap(server => {
      const slot = slotAt(backend, server.endpoint);
      if (slot?.state !== 'ready') return [];
      return {
        kind: 'state',
        backend: backend.name,
        slot: slot.name,
        state: 'drain',
        reason: `${server.instance} is to finish what it has`,
      };
    });
}

/** Out of use: slots whose address no pool of their app names, and all slots of backends that lose their app. */
function removeServers(placed: PlacedPool[], state: ProxyState): Command[] {
  return state.backends.flatMap(backend => {
    const pool = placed.find(place => place.backend.name === backend.name)?.pool;
    const keep = new Set(pool?.servers.map(server => endpointText(server.endpoint)));
    return backend.slots.filter(isUsed).flatMap((slot): Command[] => {
      const address = endpointText(slot.endpoint);
      // Deleted once met: a second slot at the same address is one too many.
      if (keep.delete(address)) return [];
      const reason = `no instance of ${backend.app ?? 'any app'} is at ${address} any more`;
      return [{ kind: 'state', backend: backend.name, slot: slot.name, state: 'maint', reason }];
    });
  });
}

function freeBackends(placed: PlacedPool[], state: ProxyState): Command[] {
  const inUse = new Set(placed.map(({ backend }) => backend.name));
  return state.backends
    .filter(backend => backend.app !== null && !inUse.has(backend.name))
    .map(backend => ({
      kind: 'free',
      backend: backend.name,
      reason: `${String(backend.app)} has no host names any more`,
    }));
}

/** Two apps that claim one host name are kept apart elsewhere; here the one that has it keeps it, else the first. */
function wantedRoutes(
  placed: PlacedPool[],
  state: ProxyState,
): Map<string, { backend: string; app: AppName }> {
  const routes = new Map<string, { backend: string; app: AppName }>();
  for (const { pool, backend } of placed) {
    for (const host of pool.hostnames.map(name => name.toLowerCase())) {
      if (routes.has(host) && state.routes.get(host) !== backend.name) continue;
      routes.set(host, { backend: backend.name, app: pool.app });
    }
  }
  return routes;
}

function changeRoutes(routes: Map<string, { backend: string; app: AppName }>, state: ProxyState): Command[] {
  const changed = [...routes]
    .filter(([host, { backend }]) => state.routes.get(host) !== backend)
    .map(([host, { backend, app }]): Command => {
      const isNew = !state.routes.has(host);
      return { kind: 'route', host, backend, isNew, reason: `${app} has the host name ${host}` };
    });
  const gone = [...state.routes.keys()]
    .filter(host => !routes.has(host))
    .map((host): Command => ({ kind: 'unroute', host, reason: `no app has the host name ${host}` }));
  return [...changed, ...gone];
}

function slotAt(backend: Backend, endpoint: Endpoint): Slot | undefined {
  const address = endpointText(endpoint);
  const there = backend.slots.filter(slot => endpointText(slot.endpoint) === address);
  return there.find(isUsed) ?? there[0];
}

function freeSlot(backend: Backend, taken: Set<string>): Slot | undefined {
  const free = backend.slots.filter(slot => slot.state === 'maint' && !taken.has(slot.name));
  return free.find(slot => !slot.busy) ?? free[0];
}

function isUsed(slot: Slot): boolean {
  return slot.state !== 'maint';
}

function isBusy(backend: Backend): boolean {
  return backend.slots.some(slot => slot.busy || isUsed(slot));
}
