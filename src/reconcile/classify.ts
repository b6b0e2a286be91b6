import type { AppSpec } from '../model/app-spec.ts';
import type { AppPlan } from '../model/views.ts';

type Impact = 'in-place' | 'restart' | 'rebuild';
type Difference = AppPlan['differences'][number];

/** What a change of each part costs. Whatever instances are started with needs new instances; the rest does not. */
const IMPACTS: Readonly<Record<keyof AppSpec, Impact>> = {
  app: 'rebuild',
  title: 'in-place',
  version: 'in-place',
  source: 'rebuild',
  build: 'rebuild',
  beforeRun: 'restart',
  processes: 'restart',
  webSettings: 'in-place',
  crons: 'in-place',
  env: 'restart',
  hostnames: 'in-place',
  healthcheck: 'in-place',
  restart: 'in-place',
  limits: 'restart',
  placement: 'in-place',
  dependsOn: 'in-place',
  deploy: 'in-place',
  ports: 'restart',
  volumes: 'restart',
  addons: 'restart',
};

/** Parts of a process that change nothing for instances that run already. */
const PROCESS_IN_PLACE = ['scale', 'startTimeoutSeconds', 'stopTimeoutSeconds'];

/** Every leaf in which the specs differ, by dotted path, with what it costs; `before` null = the app is new. */
export function classify(
  before: AppSpec | null,
  after: AppSpec,
): { impact: AppPlan['impact']; differences: Difference[] } {
  if (before === null) return { impact: 'rebuild', differences: [] };
  const differences = (Object.keys(IMPACTS) as (keyof AppSpec)[]).flatMap(field =>
    leafDifferences(comparable(before, field), comparable(after, field), field).map(leaf => ({
      ...leaf,
      impact: field === 'processes' ? processImpact(leaf.field) : IMPACTS[field],
    })),
  );
  const order: AppPlan['impact'][] = ['none', 'in-place', 'restart', 'rebuild'];
  const heaviest = differences.reduce((most, { impact }) => Math.max(most, order.indexOf(impact)), 0);
  return { impact: order[heaviest] ?? 'none', differences };
}

/** Processes are compared by type, scheduled commands by name, not by their place in the list; generated and literal secrets are never shown. */
function comparable(spec: AppSpec, field: keyof AppSpec): unknown {
  if (field === 'processes')
    return Object.fromEntries(spec.processes.map(process => [process.type, process]));
  if (field === 'crons') return Object.fromEntries(spec.crons.map(cron => [cron.name, cron]));
  return spec[field];
}

function processImpact(field: string): Impact {
  const part = field.split('.')[2];
  return part !== undefined && PROCESS_IN_PLACE.includes(part) ? 'in-place' : 'restart';
}

function leafDifferences(before: unknown, after: unknown, field: string): Omit<Difference, 'impact'>[] {
  if (JSON.stringify(before) === JSON.stringify(after)) return [];
  if (!isObject(before) || !isObject(after)) return [{ field, from: text(before), to: text(after) }];
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  return keys.flatMap(key => leafDifferences(before[key], after[key], `${field}.${key}`));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function text(value: unknown): string | null {
  if (value === undefined || value === null) return null;
  return typeof value === 'string' ? value : JSON.stringify(value);
}
