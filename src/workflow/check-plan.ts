import type { PlanProblem, PlanSpec, RetrySpec, StepSpec, StepWork } from '../model/plan.ts';
import { definitionBytes } from './submission.ts';
import { childrenOf, parentsOf, topologicalOrder } from './shape.ts';

export const planLimits = {
  steps: 10_000,
  /** Of all steps as they are kept in the store. */
  bytes: 8 * 1024 * 1024,
  /** Of all `dependsOn` together. */
  dependencies: 100_000,
  nameLength: 128,
  resourceBytes: 2_048,
  arguments: 64,
  argumentBytes: 4_096,
  /** Of a payload kept with the step; longer ones go to the artifact store. */
  inlinePayloadBytes: 4_096,
  payloadBytes: 64 * 1024 * 1024,
  keyLength: 128,
  concurrency: 10_000,
  attempts: 100,
  timeoutSeconds: 86_400,
  waitSeconds: 86_400,
  factor: 10,
  completeBySeconds: 7 * 86_400,
} as const;

type Report = (field: string, message: string, hint?: string) => void;

/**
 * Everything that keeps a plan from being accepted, in the order of the spec; empty = it is accepted. The spec's types are
 * taken as right (whoever parsed it has seen to that), its numbers are not.
 */
export function checkPlan(spec: PlanSpec): PlanProblem[] {
  const problems: PlanProblem[] = [];
  const report: Report = (field, message, hint) => problems.push({ field, message, hint: hint ?? null });
  inRange(report, 'priority', spec.priority, { least: 0, most: 9, whole: true });
  if (spec.completeBySeconds !== null) {
    inRange(report, 'completeBySeconds', spec.completeBySeconds, {
      above: 0,
      most: planLimits.completeBySeconds,
    });
  }
  checkSize(spec, report);
  if (spec.steps.length <= planLimits.steps) {
    const limits = new Map<string, { limit: number; index: number }>();
    for (const [index, step] of spec.steps.entries()) checkStep(spec, step, index, limits, report);
    checkCycles(spec, report);
  }
  return problems;
}

function checkSize(spec: PlanSpec, report: Report): void {
  const { length } = spec.steps;
  if (length === 0) report('steps', 'a plan needs at least one step');
  if (length > planLimits.steps) {
    report('steps', `${length} steps are too many`, `at most ${planLimits.steps}: submit several plans`);
  }
  const bytes = length > planLimits.steps ? 0 : definitionBytes(spec.steps);
  if (bytes > planLimits.bytes) {
    const hint = `at most ${planLimits.bytes} in all: put more into payloads, or submit several plans`;
    report('steps', `their definitions are ${bytes} bytes long`, hint);
  }
  const dependencies = spec.steps.reduce((sum, step) => sum + (step.dependsOn?.length ?? 0), 0);
  if (dependencies > planLimits.dependencies) {
    report(
      'steps',
      `${dependencies} dependencies are too many`,
      `at most ${planLimits.dependencies} in a plan: let a step in between wait for many, and others for that one`,
    );
  }
}

function checkStep(
  spec: PlanSpec,
  step: StepSpec,
  index: number,
  limits: Map<string, { limit: number; index: number }>,
  report: Report,
): void {
  const at = `steps[${index}]`;
  if (step.name !== undefined) checkLength(report, `${at}.name`, step.name, planLimits.nameLength);
  checkWork(report, at, step);
  checkParents(spec, step, index, report);
  if (step.completeBySeconds !== undefined) {
    inRange(report, `${at}.completeBySeconds`, step.completeBySeconds, {
      above: 0,
      most: planLimits.completeBySeconds,
    });
  }
  if (step.compensate) {
    checkWork(report, `${at}.compensate`, step.compensate);
    if (spec.onFailure !== 'compensate') {
      report(
        `${at}.compensate`,
        'would never be done',
        'onFailure: compensate makes the plan undo what may have started',
      );
    }
  }
  if (step.concurrency) {
    const { key, limit } = step.concurrency;
    checkLength(report, `${at}.concurrency.key`, key, planLimits.keyLength);
    inRange(report, `${at}.concurrency.limit`, limit, {
      least: 1,
      most: planLimits.concurrency,
      whole: true,
    });
    const other = limits.get(key);
    if (other === undefined) limits.set(key, { limit, index });
    else if (other.limit !== limit) {
      report(
        `${at}.concurrency.limit`,
        `is ${limit}, but ${other.limit} for the same key "${key}" in step ${other.index}`,
        'one key has one limit',
      );
    }
  }
}

function checkWork(report: Report, at: string, work: StepWork): void {
  checkLength(report, `${at}.agent`, work.agent, planLimits.nameLength);
  const resourceBytes = bytesOf(work.resource);
  if (resourceBytes > planLimits.resourceBytes) {
    report(
      `${at}.resource`,
      `is ${resourceBytes} bytes long`,
      `at most ${planLimits.resourceBytes}: put more into the payload`,
    );
  }
  checkArguments(report, at, work.arguments ?? {});
  checkPayload(report, at, work);
  if (work.timeoutSeconds !== undefined) {
    inRange(report, `${at}.timeoutSeconds`, work.timeoutSeconds, {
      above: 0,
      most: planLimits.timeoutSeconds,
    });
  }
  if (work.retry) checkRetry(report, `${at}.retry`, work.retry);
}

function checkArguments(report: Report, at: string, given: Record<string, string>): void {
  const entries = Object.entries(given);
  if (entries.length > planLimits.arguments) {
    report(`${at}.arguments`, `${entries.length} are too many`, `at most ${planLimits.arguments}`);
  }
  const bytes = entries.reduce((sum, [name, value]) => sum + bytesOf(name) + bytesOf(value), 0);
  if (bytes > planLimits.argumentBytes) {
    const hint = `at most ${planLimits.argumentBytes} in all: put more into the payload`;
    report(`${at}.arguments`, `are ${bytes} bytes long`, hint);
  }
  if (entries.some(([name]) => name === '')) report(`${at}.arguments`, 'one has no name');
}

function checkPayload(report: Report, at: string, { payload }: StepWork): void {
  if (payload === undefined) return;
  if (payload.mimeType === '') report(`${at}.payload.mimeType`, 'must not be empty');
  const kept = 'text' in payload;
  const bytes = kept ? bytesOf(payload.text) : payload.bytes;
  const most = kept ? planLimits.inlinePayloadBytes : planLimits.payloadBytes;
  const hint = kept
    ? 'longer ones go to the artifact store, and their digest here'
    : 'a payload is never cut';
  if (!Number.isInteger(bytes) || bytes < 0) report(`${at}.payload.bytes`, 'must be a whole number');
  else if (bytes > most)
    report(`${at}.payload`, `is ${bytes} bytes long, at most ${most} are possible`, hint);
  if (!kept && !/^sha256:[0-9a-f]{64}$/.test(payload.digest)) {
    report(`${at}.payload.digest`, 'is not a digest', 'sha256: and 64 hexadecimal digits');
  }
}

function checkRetry(report: Report, at: string, retry: RetrySpec): void {
  inRange(report, `${at}.attempts`, retry.attempts, { least: 1, most: planLimits.attempts, whole: true });
  inRange(report, `${at}.firstWaitSeconds`, retry.firstWaitSeconds, {
    least: 0,
    most: planLimits.waitSeconds,
  });
  inRange(report, `${at}.factor`, retry.factor, { least: 1, most: planLimits.factor });
  inRange(report, `${at}.longestWaitSeconds`, retry.longestWaitSeconds, {
    least: 0,
    most: planLimits.waitSeconds,
  });
  inRange(report, `${at}.jitter`, retry.jitter, { least: 0, most: 1 });
  if (retry.longestWaitSeconds < retry.firstWaitSeconds) {
    report(
      `${at}.longestWaitSeconds`,
      `is shorter than the first wait of ${retry.firstWaitSeconds} s`,
      'make it at least as long',
    );
  }
}

function checkParents(spec: PlanSpec, step: StepSpec, index: number, report: Report): void {
  const seen = new Set<number>();
  for (const [place, parent] of (step.dependsOn ?? []).entries()) {
    const field = `steps[${index}].dependsOn[${place}]`;
    if (!Number.isInteger(parent) || parent < 0 || parent >= spec.steps.length) {
      report(field, `there is no step ${parent}`, `steps are numbered 0 to ${spec.steps.length - 1}`);
    } else if (parent === index) report(field, 'a step cannot wait for itself');
    else if (seen.has(parent)) report(field, `step ${parent} is named twice`);
    seen.add(parent);
  }
  const { condition } = step;
  const waits = seen.size > 0 || (spec.sequential && index > 0);
  if ((condition === 'any-failed' || condition === 'any-succeeded') && !waits) {
    report(`steps[${index}].condition`, `${condition} can never hold`, 'the step depends on no other');
  }
}

/** Reported at the lowest step of each circle; a step that waits for itself has been reported already. */
function checkCycles(spec: PlanSpec, report: Report): void {
  const parents = parentsOf(spec).map((all, index) => all.filter(parent => parent !== index));
  const children = childrenOf(parents);
  const free = new Set(topologicalOrder(parents, children));
  const told = new Set<number>();
  for (let index = 0; index < parents.length; index++) {
    if (free.has(index) || told.has(index)) continue;
    const cycle = cycleThrough(index, parents, free, told);
    if (cycle.length > 0) {
      const hint = spec.sequential
        ? 'in a sequential plan each step waits for the one before as well'
        : undefined;
      report(
        `steps[${cycle[0] ?? index}].dependsOn`,
        `steps wait for each other in a circle: ${circleText(cycle)}`,
        hint,
      );
    }
  }
}

/** Walks up from a step, all of whose ways up lead into circles, until it meets itself; empty when it meets an old one. */
function cycleThrough(
  start: number,
  parents: readonly (readonly number[])[],
  free: ReadonlySet<number>,
  told: Set<number>,
): number[] {
  const path: number[] = [];
  const placeOf = new Map<number, number>();
  let at: number | undefined = start;
  while (at !== undefined && !placeOf.has(at) && !told.has(at)) {
    placeOf.set(at, path.length);
    path.push(at);
    at = parents[at]?.find(parent => !free.has(parent));
  }
  for (const index of path) told.add(index);
  const from = at === undefined ? undefined : placeOf.get(at);
  return from === undefined ? [] : lowestFirst(path.slice(from));
}

function lowestFirst(cycle: number[]): number[] {
  const lowest = cycle.reduce((least, index, place) => (index < (cycle[least] ?? index) ? place : least), 0);
  return [...cycle.slice(lowest), ...cycle.slice(0, lowest)];
}

/** `1 after 4 after 2 after 1`; the middle of a long one is left out. */
function circleText(cycle: number[]): string {
  const named = cycle.length <= 20 ? cycle : [...cycle.slice(0, 10), '…', ...cycle.slice(-9)];
  return [...named, cycle[0]].join(' after ');
}

function checkLength(report: Report, field: string, text: string, most: number): void {
  if (text === '') report(field, 'must not be empty');
  else if (text.length > most) report(field, `is ${text.length} characters long`, `at most ${most}`);
}

interface Range {
  least?: number;
  above?: number;
  most: number;
  whole?: boolean;
}

function inRange(report: Report, field: string, value: number, range: Range): void {
  const { least, above, most, whole } = range;
  const low = above !== undefined ? value > above : value >= (least ?? 0);
  if (low && value <= most && (!whole || Number.isInteger(value))) return;
  const kind = whole ? 'a whole number ' : '';
  const span = above !== undefined ? `above ${above}, at most ${most}` : `from ${least ?? 0} to ${most}`;
  report(field, `must be ${kind}${span}, not ${value}`);
}

const encoder = new TextEncoder();

function bytesOf(text: string): number {
  return encoder.encode(text).length;
}
