import { portsOf, processOf, type AppSpec, type ProcessSpec } from '../model/app-spec.ts';
import type { ProcessType } from '../model/ids.ts';
import { versionOfRelease, type AppRecord, type ArtifactRef, type ReleaseState } from '../model/records.ts';
import { releaseState } from '../model/rollout.ts';

/** What one instance of an app should run. */
export interface WantedRelease {
  release: number;
  version: string;
  spec: AppSpec;
  process: ProcessSpec;
  artifact: ArtifactRef | null;
  serves: Serves;
}

/** `after-old` = not while an older copy of it answers here · `not-yet` = ready, and waits for the switch. */
export type Serves = 'now' | 'after-old' | 'not-yet';

const defaultCanaryShare = 0.2;

/** By process type, how many instances there are at most while one release takes the place of another. */
export function wantedTypes(record: AppRecord): { type: ProcessType; count: number }[] {
  const counts = new Map<ProcessType, number>();
  for (const spec of [record.spec, ...(mixes(record) ? [record.rollout?.before.spec ?? record.spec] : [])]) {
    for (const { type, scale } of spec.processes) counts.set(type, Math.max(scale, counts.get(type) ?? 0));
  }
  return [...counts].map(([type, count]) => ({ type, count }));
}

/** null = this instance is not wanted. */
export function wantedRelease(record: AppRecord, type: ProcessType, index: number): WantedRelease | null {
  const stage = record.rollout?.stage ?? 'replacing';
  switch (stage) {
    case 'replacing':
      return runs(releaseState(record), type, index, 'now');
    case 'canary':
      return duringCanary(record, type, index);
    case 'beside':
      return duringBeside(record, type, index);
  }
}

/**
 * The releases of which a copy of this instance only ever stood ready. Where the release before has it as well, one may have stood in
 * for that, and does until something newer is ready.
 */
export function passedOver(
  { release, rollout }: AppRecord,
  type: ProcessType,
  index: number,
): readonly number[] {
  if (!rollout || runs(rollout.before, type, index, 'now') !== null) return [];
  const waits = rollout.stage === 'beside' ? [release] : [];
  return [...(rollout.passedOver ?? []), ...waits];
}

/** How many instances of a process type try the new release, at least one. */
export function canaryCount({ deploy }: AppSpec, scale: number): number {
  return Math.min(scale, Math.max(1, Math.ceil(scale * (deploy.canaryShare ?? defaultCanaryShare))));
}

function duringCanary(record: AppRecord, type: ProcessType, index: number): WantedRelease | null {
  const { before } = record.rollout ?? { before: releaseState(record) };
  const process = processOf(record.spec, type);
  if (process !== null && index < canaryCount(record.spec, process.scale)) {
    return runs(releaseState(record), type, index, 'now');
  }
  return runs(before, type, index, 'now');
}

/**
 * Only what gets requests through a proxy can stand ready without working, and only what has no fixed port can have a second
 * copy: all else waits for the switch.
 */
function duringBeside(record: AppRecord, type: ProcessType, index: number): WantedRelease | null {
  const { before } = record.rollout ?? { before: releaseState(record) };
  const old = runs(before, type, index, 'now');
  const process = processOf(record.spec, type);
  if (process === null || !process.routed || process.exclusive || index >= process.scale) return old;
  if (portsOf(record.spec, type).length > 0) return old;
  const hadOne = old !== null && old.process.routed && !old.process.exclusive;
  if (old !== null && !hadOne) return old;
  return runs(releaseState(record), type, index, hadOne ? 'after-old' : 'not-yet');
}

function runs(state: ReleaseState, type: ProcessType, index: number, serves: Serves): WantedRelease | null {
  const process = processOf(state.spec, type);
  if (process === null || index >= process.scale) return null;
  const { release, spec, artifact } = state;
  return { release, version: versionOfRelease(state, type), spec, process, artifact, serves };
}

function mixes({ rollout }: AppRecord): boolean {
  return rollout !== undefined && rollout.stage !== 'replacing';
}
