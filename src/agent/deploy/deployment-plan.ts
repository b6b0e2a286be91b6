import type { AppSpec } from '../../model/app-spec.ts';
import type { AppName, NodeName } from '../../model/ids.ts';
import type { PlanSpec, RetrySpec, StepSpec } from '../../model/plan.ts';
import type { KnownPlan } from '../plans/known-plan.ts';
import { hasEnded } from '../../workflow/step-machine.ts';

/** The agent of all steps of deployments, which nobody else may make steps of. */
export const DEPLOY = 'deploy';

export const deploySteps = ['fetch', 'build', 'publish', 'before-run', 'roll', 'settle'] as const;
export type DeployStep = (typeof deploySteps)[number];

const HOUR_SECONDS = 3600;
/** What one command before the run may take, and some more. */
const HOOK_SECONDS = 310;

interface StepBounds {
  timeoutSeconds: number;
  /** The loss of the node that does it counts as one of them. */
  attempts: number;
}

const bounds: Record<DeployStep, StepBounds> = {
  // What was uploaded may be on a node that is just being started again.
  fetch: { timeoutSeconds: HOUR_SECONDS, attempts: 8 },
  build: { timeoutSeconds: 4 * HOUR_SECONDS, attempts: 4 },
  publish: { timeoutSeconds: 600, attempts: 4 },
  'before-run': { timeoutSeconds: HOUR_SECONDS, attempts: 3 },
  roll: { timeoutSeconds: 60, attempts: 10 },
  // It only watches, for as long as an operator takes to promote what waits for that.
  settle: { timeoutSeconds: 24 * HOUR_SECONDS, attempts: 100 },
};

const retry: RetrySpec = {
  attempts: 4,
  firstWaitSeconds: 0.5,
  factor: 2,
  longestWaitSeconds: 10,
  jitter: 0.2,
};

/**
 * One app's deployment as a plan: one step after the other, and if one fails, or somebody cancels it, what `roll` has made wanted is
 * taken back, then the turn is let go.
 */
export function deploymentPlan(spec: AppSpec): PlanSpec {
  return {
    title: `deploy ${spec.app}`,
    steps: deploySteps.map(step => stepOf(spec, step)),
    priority: 0,
    sequential: true,
    onFailure: 'compensate',
    completeBySeconds: null,
  };
}

export function originOf(app: AppName): string {
  return `deploy ${app}`;
}

/** Whether a step is not tried again should this attempt at it fail. */
export function isLast(step: DeployStep, attempt: number): boolean {
  return attempt >= bounds[step].attempts;
}

function stepOf({ app, beforeRun }: AppSpec, step: DeployStep): StepSpec {
  const { timeoutSeconds, attempts } = bounds[step];
  const hooksSeconds = step === 'before-run' ? beforeRun.length * HOOK_SECONDS : 0;
  const work = { agent: DEPLOY, resource: app, arguments: { step } };
  return {
    ...work,
    name: step,
    timeoutSeconds: timeoutSeconds + hooksSeconds,
    retry: { ...retry, attempts },
    ...(step === 'fetch' || step === 'roll' ? { compensate: work } : {}),
  };
}

/** A deployment under way, as this node knows it. */
export interface DeploymentSeen {
  app: AppName;
  plan: string;
  /** The one that is done, or is to be done next. */
  step: DeployStep;
  /** Who is at it; null = nobody right now. */
  node: NodeName | null;
  /** Of that node's session. */
  incarnation: string | null;
  undoing: boolean;
}

export function isDeployment({ spec }: KnownPlan): boolean {
  return spec?.steps[0]?.agent === DEPLOY;
}

export function deploymentsSeen(plans: Iterable<KnownPlan>): DeploymentSeen[] {
  return [...plans].filter(isDeployment).map(plan => {
    const open = deploySteps.findIndex((_, index) => !hasEnded(plan.records[index]?.state ?? 'PENDING'));
    const owner = plan.chunks[0]?.entry.value.owner ?? null;
    return {
      app: plan.spec?.steps[0]?.resource ?? '',
      plan: plan.id,
      step: deploySteps[open] ?? 'settle',
      node: owner?.node ?? null,
      incarnation: owner?.incarnation ?? null,
      undoing: open === -1,
    };
  });
}
