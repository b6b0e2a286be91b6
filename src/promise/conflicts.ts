import { portsOf, portText, type AppSpec } from '../model/app-spec.ts';
import type { AppName, NodeName, PortText, ProcessType } from '../model/ids.ts';
import type { NodePromise } from '../model/node-promise.ts';
import type { PlacedInstance } from '../model/placement.ts';
import type { Problem } from '../model/problem.ts';
import type { Capacity, SessionRecord } from '../model/records.ts';

const mebibyte = 1024 * 1024;

/** Host names that another app holds. The one who has it keeps it; the newer is refused. */
export function hostnameConflicts(spec: AppSpec, holders: ReadonlyMap<string, AppName>): Problem[] {
  return spec.hostnames.flatMap(hostname => {
    const holder = holders.get(hostname);
    if (holder === undefined || holder === spec.app) return [];
    const message = `host name "${hostname}" is held by app "${holder}"`;
    const hint = `choose another, or take it from "${holder}" first`;
    return [{ ...problem(spec.app, 'domains.list', message, hint), conflict: true as const }];
  });
}

/** A node, as far as it matters to fixed ports. */
export type PortNode = Pick<SessionRecord, 'node' | 'roles' | 'labels' | 'listens'>;

/**
 * Fixed ports that more instances would want than there are nodes to give them, whoever else wants them: on a node one instance
 * has each. What was wanted `before`, and no more of it, is not questioned: a node may be away for a while.
 */
export function portConflicts(
  spec: AppSpec,
  before: AppSpec | null,
  others: readonly AppSpec[],
  nodes: readonly PortNode[],
): Problem[] {
  const hosts = hostsFor(spec, nodes);
  if (hosts.length === 0) return [];
  const had = new Map(before === null ? [] : demands(before).map(each => [keyOf(each), each.scale]));
  return demands(spec).flatMap(demand => {
    const { port, type, scale, index } = demand;
    if (scale <= (had.get(keyOf(demand)) ?? 0)) return [];
    const refused = (message: string, hint: string): Problem[] => [
      { ...problem(spec.app, `ports[${index}].number`, message, hint), conflict: true },
    ];
    const free = hosts.filter(({ listens }) => listens?.[port] === undefined);
    if (free.length === 0) {
      const listeners = hosts.map(({ node, listens }) => `${listens?.[port] ?? ''} on ${node}`);
      return refused(`port ${port} is in use on every node: ${listeners.join(', ')}`, 'choose another');
    }
    const rivals = others.flatMap(other => rivalsFor(port, free, other, nodes));
    if (scale + rivals.reduce((sum, { least }) => sum + least, 0) <= free.length) return [];
    const once = `port ${port} can be had once on each node, and ${countText(free.length, 'node')} could give it`;
    const holders = rivals.filter(({ least }) => least > 0).map(({ words }) => words);
    return holders.length === 0
      ? refused(`${once}: ${scale} of "${type}" can't all run`, 'scale it down, or add nodes')
      : refused(`${once}: ${holders.join(', ')}`, 'choose another, scale one of them down, or add nodes');
  });
}

interface Demand {
  port: PortText;
  type: ProcessType;
  scale: number;
  /** In the spec's list. */
  index: number;
}

function demands(spec: AppSpec): Demand[] {
  const found = [{ type: 'web', scale: spec.webSettings?.scale ?? 1 }];
  const processes = spec.processes.length > 0 ? spec.processes : found;
  return processes.flatMap(({ type, scale }) =>
    portsOf({ ports: spec.ports, processes }, type).map(port => ({
      port: portText(port),
      type,
      scale,
      index: spec.ports.indexOf(port),
    })),
  );
}

function keyOf({ port, type }: Demand): string {
  return `${type} ${port}`;
}

function hostsFor({ placement }: AppSpec, nodes: readonly PortNode[]): PortNode[] {
  const required = Object.entries(placement.requires);
  return nodes.filter(
    ({ roles, labels }) =>
      roles.includes('apps') && required.every(([label, value]) => labels[label] === value),
  );
}

/** How many of these nodes another app takes at least, with what it wants the port for. */
function rivalsFor(
  port: PortText,
  free: readonly PortNode[],
  other: AppSpec,
  nodes: readonly PortNode[],
): { least: number; words: string }[] {
  const elsewhere = hostsFor(other, nodes).filter(
    node => node.listens?.[port] === undefined && !free.includes(node),
  );
  return demands(other)
    .filter(demand => demand.port === port)
    .map(({ type, scale }) => ({
      least: Math.max(0, scale - elsewhere.length),
      words: `app "${other.app}" has it for ${scale} of "${type}"`,
    }));
}

function countText(count: number, what: string): string {
  return count === 1 ? `1 ${what}` : `${count} ${what}s`;
}

/** Instances that do not fit on a node after those before them. Give them oldest first: those keep their place. */
export function overcommitted(
  node: { node: NodeName; capacity: Capacity },
  reserved: PlacedInstance[],
): Problem[] {
  const { capacity } = node;
  let memoryBytes = 0;
  let millicores = 0;
  const fitting: string[] = [];
  const problems: Problem[] = [];
  for (const { instance, reserves } of reserved) {
    const wantedMillicores = Math.round(reserves.cpu * 1000);
    const fits =
      memoryBytes + reserves.memoryBytes <= capacity.memoryBytes &&
      millicores + wantedMillicores <= Math.round(capacity.cpu * 1000);
    if (fits) {
      memoryBytes += reserves.memoryBytes;
      millicores += wantedMillicores;
      fitting.push(instance);
      continue;
    }
    const leftMemory = Math.floor((capacity.memoryBytes - memoryBytes) / mebibyte);
    const leftCpu = capacity.cpu - millicores / 1000;
    problems.push(
      problem(
        appOf(instance),
        'limits',
        `${instance} needs ${Math.ceil(reserves.memoryBytes / mebibyte)} MiB and ${reserves.cpu} cores, and ${node.node} has ${leftMemory} MiB and ${Math.round(leftCpu * 1000) / 1000} cores left`,
        fitting.length > 0 ? `${fitting.join(', ')} came before it` : null,
      ),
    );
  }
  return problems;
}

/** Numbers and states that nobody could keep. */
export function impossible(promise: NodePromise): Problem[] {
  const complaint = complaintAbout(promise);
  return complaint === null ? [] : [problem(promise.promiser, promise.name, complaint, null)];
}

function complaintAbout({ body, kind, completeBy }: NodePromise): string | null {
  if (kind === 'action' && completeBy === null) return 'an action needs a time to be complete by';
  switch (body.kind) {
    case 'capacity':
      return isAmount(body.memoryBytes) && isAmount(body.cpu)
        ? null
        : `${body.memoryBytes} bytes and ${body.cpu} cores are no capacity`;
    case 'running':
      if (body.ready && body.state !== 'running')
        return `it cannot be ready while its state is ${body.state}`;
      return body.endpoint === null || isPort(body.endpoint.port) ? null : `${body.endpoint.port} is no port`;
    case 'standby':
      return body.endpoint === null || isPort(body.endpoint.port) ? null : `${body.endpoint.port} is no port`;
    case 'serving':
      return Number.isInteger(body.instances) && body.instances > 0
        ? null
        : `${body.instances} instances serve nobody`;
    case 'holding':
      return isAmount(body.bytes) ? null : `${body.bytes} bytes are no size`;
    case 'deploying':
    case 'draining':
    case 'request':
      return null;
  }
}

function isAmount(value: number): boolean {
  return Number.isFinite(value) && value >= 0;
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65_535;
}

function appOf(instance: string): string {
  return instance.split('/', 1)[0] ?? instance;
}

function problem(file: string, field: string, message: string, hint: string | null): Problem {
  return { file, line: 0, column: 0, field, message, hint };
}
