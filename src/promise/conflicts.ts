import type { AppSpec } from '../model/app-spec.ts';
import type { AppName, NodeName } from '../model/ids.ts';
import type { NodePromise } from '../model/node-promise.ts';
import type { PlacedInstance } from '../model/placement.ts';
import type { Problem } from '../model/problem.ts';
import type { Capacity } from '../model/records.ts';

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
