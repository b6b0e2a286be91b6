import { portsOf, portText, type AppSpec, type ProcessSpec } from '../model/app-spec.ts';
import type { InstanceId, NodeName } from '../model/ids.ts';
import type { PlacedInstance } from '../model/placement.ts';
import type { Capacity } from '../model/records.ts';

const mebibyte = 1024 * 1024;
const forProcess: Capacity = { memoryBytes: 128 * mebibyte, cpu: 0.1 };
const forFiles: Capacity = { memoryBytes: 16 * mebibyte, cpu: 0.01 };

/** An instance with all that it takes of the node it is on. */
export function placedOn(
  node: NodeName,
  { instance, spec, process }: { instance: InstanceId; spec: AppSpec; process: ProcessSpec },
): PlacedInstance {
  const ports = portsOf(spec, process.type).map(portText);
  return { instance, node, reserves: reservation(spec, process), ports };
}

/**
 * What one instance sets aside on its node: its limits, else a default. Static files are served by the agent, so
 * limits do not concern them. Without `process`, that of an app's largest instance.
 */
export function reservation(spec: AppSpec, process?: ProcessSpec): Capacity {
  const kinds = process ? [process.kind] : spec.processes.map(({ kind }) => kind);
  if (kinds.length > 0 && kinds.every(kind => kind === 'static')) return forFiles;
  return {
    memoryBytes: spec.limits.memoryBytes ?? forProcess.memoryBytes,
    cpu: spec.limits.cpu ?? forProcess.cpu,
  };
}
