import type {
  CatchUp,
  CronSchedule,
  PlanProblem,
  PlanSpec,
  RetrySpec,
  StepPayload,
  StepSpec,
  StepWork,
} from '../model/plan.ts';
import type { Problem } from '../model/problem.ts';
import { findingsOf } from './issues.ts';
import { suggestion } from './nearest.ts';
import { planManifest } from './plan-manifest.ts';
import {
  fieldOf,
  isTable,
  listAt,
  problemsOf,
  shown,
  tableAt,
  valueAt,
  type Finding,
  type Path,
  type Tree,
} from './tree.ts';

/** What else must be right of a plan and its schedule, whatever it was written in. */
export interface PlanChecks {
  plan: (spec: PlanSpec) => PlanProblem[];
  schedule: (schedule: CronSchedule) => PlanProblem[];
}

/** A payload that is in a file of its own, to be put where `path` says. */
export interface PayloadFile {
  step: number;
  of: 'work' | 'undo';
  /** As written. */
  file: string;
  mimeType: string;
  line: number;
  column: number;
  field: string;
}

export interface ReadPlan {
  /** Without the payloads that are in files. */
  spec: PlanSpec;
  payloadFiles: PayloadFile[];
  idempotencyKey: string | null;
  /** null = to be done once, now. */
  schedule: { name: string; schedule: CronSchedule; paused: boolean } | null;
  /** What somebody else finds wrong with the spec, at its place in the file. */
  placed: (problem: PlanProblem) => Problem;
}

/** One document of kind Plan, and every problem with it: with one, the plan is what could be read of it. */
export function readPlanTree(
  file: string,
  tree: Tree,
  checks: PlanChecks,
): { plan: ReadPlan; problems: Problem[] } {
  const { data } = tree;
  const own = [...findingsOf(planManifest, data), ...nameFindings(data), ...payloadFindings(data)];
  const plan = planOf(file, tree);
  const more = [
    ...checks.plan(plan.spec).map(problem => findingOf(data, problem, [])),
    ...(plan.schedule === null
      ? []
      : checks.schedule(plan.schedule.schedule).map(problem => findingOf(data, problem, ['schedule']))),
  ];
  // What the schema refuses was left out of the plan that was checked: no more is to be said about it.
  const findings = [...own, ...more.filter(({ path }) => !own.some(known => isWithin(path, known.path)))];
  return { plan, problems: inOrder(problemsOf(file, tree, findings)) };
}

/** References between steps, which have no numbers where people write them. */
function nameFindings(data: unknown): Finding[] {
  const numbers = numbersOf(data);
  const known = [...numbers.keys()];
  return listAt(data, 'steps').flatMap((step, index) => {
    const name = text(valueAt(step, ['name'])) ?? '';
    const first = numbers.get(name) ?? index;
    const path = ['steps', index];
    const twice = `step ${first} has the name ${shown(name)} already`;
    return [
      ...(first === index ? [] : [finding([...path, 'name'], twice, null)]),
      ...listAt(step, 'depends-on').flatMap((parent, place) => {
        if (typeof parent !== 'string' || numbers.has(parent)) return [];
        const hint =
          known.length === 0 ? 'steps that others wait for need a name' : suggestion(parent, known);
        return [finding([...path, 'depends-on', place], `there is no step ${shown(parent)}`, hint)];
      }),
    ];
  });
}

function payloadFindings(data: unknown): Finding[] {
  return listAt(data, 'steps').flatMap((step, index) =>
    [[], ['compensate']].flatMap(part => {
      const work = tableAt(step, ...part);
      const path = ['steps', index, ...part];
      const both = work['payload'] !== undefined && work['payload-file'] !== undefined;
      return both
        ? [finding([...path, 'payload-file'], 'is given beside payload', 'keep one of the two')]
        : [];
    }),
  );
}

function planOf(file: string, tree: Tree): ReadPlan {
  const { data } = tree;
  const table = tableAt(data);
  const payloadFiles: PayloadFile[] = [];
  const numbers = numbersOf(data);
  return {
    spec: {
      title: text(table['title']) ?? null,
      steps: listAt(data, 'steps').map((_, index) => stepOf(tree, index, numbers, payloadFiles)),
      priority: number(table['priority']) ?? 5,
      sequential: table['sequential'] === true,
      onFailure: word(table['on-failure'], ['stop', 'continue', 'compensate']) ?? 'stop',
      completeBySeconds: number(table['complete-by']) ?? null,
    },
    payloadFiles,
    idempotencyKey: text(table['idempotency-key']) ?? null,
    schedule: isTable(table['schedule']) ? scheduleOf(table['schedule']) : null,
    placed: problem => ({
      ...problem,
      file,
      ...tree.placeOf(pathOf(problem.field), 'value'),
      field: fieldOf(pathOf(problem.field)),
    }),
  };
}

function stepOf(
  tree: Tree,
  index: number,
  numbers: ReadonlyMap<string, number>,
  files: PayloadFile[],
): StepSpec {
  const path = ['steps', index];
  const table = tableAt(tree.data, ...path);
  const name = text(table['name']);
  const condition = word(table['condition'], ['all-succeeded', 'any-succeeded', 'all-done', 'any-failed']);
  const completeBySeconds = number(table['complete-by']);
  const key = valueAt(table, ['concurrency', 'key']);
  // Whatever is none keeps its place, so that what is said of the others is said where they are.
  const parents = listAt(table, 'depends-on').map(
    parent => (typeof parent === 'string' ? numbers.get(parent) : number(parent)) ?? -1,
  );
  return {
    ...workOf(tree, path, { step: index, of: 'work' }, files),
    ...(name !== undefined && { name }),
    ...(table['depends-on'] !== undefined && { dependsOn: parents }),
    ...(condition && { condition }),
    ...(completeBySeconds !== undefined && { completeBySeconds }),
    ...(isTable(table['compensate']) && {
      compensate: workOf(tree, [...path, 'compensate'], { step: index, of: 'undo' }, files),
    }),
    ...(typeof key === 'string' && {
      concurrency: { key, limit: number(valueAt(table, ['concurrency', 'limit'])) ?? 1 },
    }),
  };
}

function workOf(
  tree: Tree,
  path: Path,
  place: Pick<PayloadFile, 'step' | 'of'>,
  files: PayloadFile[],
): StepWork {
  const table = tableAt(tree.data, ...path);
  const given = Object.entries(tableAt(table, 'arguments')).filter(([, value]) => isScalar(value));
  // 1.10 must not become 1.1: the author's own text, where there is one.
  const texts = given.map(([name, value]): [string, string] => [
    name,
    typeof value === 'string' ? value : (tree.textOf([...path, 'arguments', name]) ?? String(value)),
  ]);
  const payload = payloadOf(table['payload'], text(table['mime-type']));
  const timeoutSeconds = number(table['timeout']);
  const file = text(table['payload-file']);
  if (file !== undefined) {
    const at = [...path, 'payload-file'];
    const { line, column } = tree.placeOf(at, 'value');
    const mimeType = text(table['mime-type']) ?? (file.endsWith('.json') ? JSON_TYPE : TEXT_TYPE);
    files.push({ ...place, file, mimeType, line, column, field: fieldOf(at) });
  }
  return {
    agent: text(table['agent']) ?? 'unknown',
    resource: text(table['resource']) ?? '',
    ...(texts.length > 0 && { arguments: Object.fromEntries(texts) }),
    ...(payload && { payload }),
    ...(timeoutSeconds !== undefined && { timeoutSeconds }),
    ...(isTable(table['retry']) && { retry: retryOf(table['retry'], place.of) }),
  };
}

const JSON_TYPE = 'application/json';
const TEXT_TYPE = 'text/plain';

function payloadOf(payload: unknown, mimeType: string | undefined): StepPayload | null {
  if (payload === undefined) return null;
  if (typeof payload === 'string') return { mimeType: mimeType ?? TEXT_TYPE, text: payload };
  return { mimeType: mimeType ?? JSON_TYPE, text: JSON.stringify(payload) };
}

/** What is not said is as without any `retry`. */
function retryOf(table: Record<string, unknown>, of: PayloadFile['of']): RetrySpec {
  const firstWaitSeconds = number(table['first-wait']) ?? 1;
  return {
    attempts: number(table['attempts']) ?? (of === 'work' ? 3 : 10),
    firstWaitSeconds,
    factor: number(table['factor']) ?? 2,
    longestWaitSeconds: number(table['longest-wait']) ?? Math.max(60, firstWaitSeconds),
    jitter: number(table['jitter']) ?? 0.2,
  };
}

function scheduleOf(table: Record<string, unknown>): NonNullable<ReadPlan['schedule']> {
  return {
    name: text(table['name']) ?? '',
    schedule: {
      expression: text(table['cron']) ?? '@daily',
      timeZone: text(table['time-zone']) ?? 'UTC',
      overlap: word(table['overlap'], ['allow', 'forbid', 'replace']) ?? 'forbid',
      catchUp: catchUpOf(table['catch-up']),
    },
    paused: table['paused'] === true,
  };
}

function catchUpOf(value: unknown): CatchUp {
  const atMost = number(valueAt(value, ['all']));
  if (atMost !== undefined) return { kind: 'all', atMost };
  return { kind: value === 'none' ? 'none' : 'latest' };
}

/** The first of each name. */
function numbersOf(data: unknown): ReadonlyMap<string, number> {
  const numbers = new Map<string, number>();
  for (const [index, step] of listAt(data, 'steps').entries()) {
    const name = text(valueAt(step, ['name']));
    if (name !== undefined && !numbers.has(name)) numbers.set(name, index);
  }
  return numbers;
}

/** `steps[3].dependsOn[0]`, in a spec, is `steps[3].depends-on[0]` here. */
function findingOf(data: unknown, { field, message, hint }: PlanProblem, base: Path): Finding {
  const path = [...base, ...pathOf(field)];
  const last = path.at(-1);
  if (last === 'mime-type') path.splice(-2, 1);
  if (last === 'payload' && valueAt(data, path) === undefined) path.splice(-1, 1, 'payload-file');
  const part = valueAt(data, path) === undefined ? 'key' : 'value';
  return { path, part, message, hint: hint?.replace(/\bonFailure\b/, 'on-failure') ?? null };
}

/** The name of an argument may hold anything. */
function pathOf(field: string): Path {
  const [, head = field, argument] = /^(.*?\barguments)\.(.+)$/s.exec(field) ?? [];
  const parts = [...head.matchAll(/[A-Za-z]+|\d+/g)].map(([part]) =>
    /^\d/.test(part) ? Number(part) : (written[part] ?? part),
  );
  return argument === undefined ? parts : [...parts, argument];
}

const written: Record<string, string> = {
  dependsOn: 'depends-on',
  timeoutSeconds: 'timeout',
  completeBySeconds: 'complete-by',
  firstWaitSeconds: 'first-wait',
  longestWaitSeconds: 'longest-wait',
  onFailure: 'on-failure',
  mimeType: 'mime-type',
  expression: 'cron',
  timeZone: 'time-zone',
  catchUp: 'catch-up',
  atMost: 'all',
};

function isWithin(path: Path, other: Path): boolean {
  return other.every((part, place) => part === path[place]);
}

function inOrder(problems: Problem[]): Problem[] {
  return problems.toSorted((a, b) => a.line - b.line || a.column - b.column);
}

function finding(path: Path, message: string, hint: string | null): Finding {
  return { path, part: 'value', message, hint };
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function number(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined;
}

function word<T extends string>(value: unknown, words: readonly T[]): T | undefined {
  return words.find(known => known === value);
}

function isScalar(value: unknown): boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
}
