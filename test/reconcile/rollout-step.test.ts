import test from 'ava';
import type { DeploySpec } from '../../src/model/app-spec.ts';
import type { Rollout } from '../../src/model/records.ts';
import { rolloutStep, type RolledInstance, type RolloutInput } from '../../src/reconcile/rollout-step.ts';
import { appSpec } from '../support/nouns.ts';

const before: Rollout['before'] = { release: 1, spec: appSpec(), artifact: null, restarts: {} };
const healthy: RolledInstance = { instance: 'blog/web/0', healthy: true, failed: null, sick: null };
const late: RolledInstance = { ...healthy, instance: 'blog/web/1', healthy: false };

interface Row {
  stage: Rollout['stage'];
  final?: true;
  deploy?: Partial<DeploySpec>;
  instances?: RolledInstance[];
  sinceProgressMs?: number;
  allHealthyMs?: number;
  step: string;
  reason?: RegExp;
}

const all = { instances: [healthy], allHealthyMs: 0 };
const rows: Record<string, Row> = {
  'it waits while one is not healthy': {
    stage: 'replacing',
    step: 'wait 120000',
    reason: /^1 of 2 are healthy/,
  },
  'it is settled when all are': { stage: 'replacing', ...all, step: 'settle' },
  'without progress it is given up at the deadline': {
    stage: 'replacing',
    sinceProgressMs: 120_000,
    step: 'give-up',
    reason: /^not healthy in the eyes of their observers within 120 s: blog\/web\/1$/,
  },
  'and not before': { stage: 'replacing', sinceProgressMs: 119_999, step: 'wait 1' },
  'what a node has given up gives it up at once': {
    stage: 'replacing',
    instances: [healthy, { ...late, failed: 'exited with code 1' }],
    step: 'give-up',
    reason: /^blog\/web\/1: exited with code 1$/,
  },
  'what leads back is not given up for a failure': {
    stage: 'replacing',
    final: true,
    instances: [{ ...late, failed: 'exited' }],
    step: 'wait null',
  },
  'nor for the deadline': { stage: 'replacing', final: true, sinceProgressMs: 1e9, step: 'wait null' },
  'and is settled all the same': { stage: 'replacing', final: true, ...all, step: 'settle' },
  'what stands beside is switched to when all are healthy': { stage: 'beside', ...all, step: 'promote' },
  'or by an operator': {
    stage: 'beside',
    deploy: { promote: 'manual' },
    ...all,
    step: 'wait null',
    reason: /an operator promotes it/,
  },
  'a canary is watched for its time': {
    stage: 'canary',
    ...all,
    step: 'wait 60000',
    reason: /watched for 60 s/,
  },
  'and promoted after it': {
    stage: 'canary',
    ...all,
    allHealthyMs: 60_000,
    step: 'promote',
    reason: /for 60 s/,
  },
  'its time can be none': { stage: 'canary', deploy: { bakeSeconds: 0 }, ...all, step: 'promote' },
  'after it an operator may have the word': {
    stage: 'canary',
    deploy: { promote: 'manual' },
    ...all,
    allHealthyMs: 60_000,
    step: 'wait null',
  },
  'one that falls ill meanwhile gives it up': {
    stage: 'canary',
    instances: [{ ...late, sick: 'unhealthy: HTTP 500' }],
    step: 'give-up',
    reason: /^blog\/web\/1 fell ill while it was tried: unhealthy: HTTP 500$/,
  },
  'one that falls ill later is its node’s to repair': {
    stage: 'replacing',
    instances: [{ ...late, sick: 'unhealthy' }],
    step: 'wait 120000',
  },
};

for (const [title, row] of Object.entries(rows)) {
  test(title, t => {
    const input: RolloutInput = {
      rollout: { before, stage: row.stage, ...(row.final ? { final: row.final } : {}) },
      deploy: { ...appSpec().deploy, ...row.deploy },
      instances: row.instances ?? [healthy, late],
      sinceProgressMs: row.sinceProgressMs ?? 0,
      allHealthyMs: row.allHealthyMs ?? null,
    };
    const step = rolloutStep(input);
    t.is(step.kind === 'wait' ? `wait ${step.forMs}` : step.kind, row.step);
    if (row.reason) t.regex('reason' in step ? step.reason : 'why' in step ? step.why : '', row.reason);
  });
}
