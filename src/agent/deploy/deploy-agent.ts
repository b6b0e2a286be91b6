import type { NodeName } from '../../model/ids.ts';
import type { StepResult } from '../../model/plan.ts';
import { ArtifactError } from '../../ports/artifacts.ts';
import type { StepAgent, StepTask } from '../../ports/step-agents.ts';
import type { Log } from '../../ports/log.ts';
import type { Ledger } from '../ledger.ts';
import type { Audience } from './audience.ts';
import { DEPLOY, deploySteps, isLast, type DeployStep } from './deployment-plan.ts';
import { isHopeless } from './hopeless.ts';
import type { Platforms } from './platforms.ts';
import type { Doing, Done, Preparing } from './preparing.ts';
import type { Rolling } from './rolling.ts';

export interface DeployAgentOptions {
  node: NodeName;
  preparing: Preparing;
  platforms: Pick<Platforms, 'isForOthers'>;
  rolling: Rolling;
  audience: Audience;
  ledger: Ledger;
  log: Log;
}

/** Does the steps of deployments, and tells of each: whoever listens here at once, everybody by the ledger. */
export function deployAgent(options: DeployAgentOptions): StepAgent {
  const { preparing, platforms, rolling } = options;
  const work: Record<DeployStep, (doing: Doing) => Promise<Done>> = {
    fetch: doing => preparing.fetch(doing),
    build: doing => preparing.build(doing),
    publish: doing => preparing.publish(doing),
    'before-run': doing => preparing.beforeRun(doing),
    roll: async doing => {
      const built = await preparing.beforeRoll(doing);
      const done = await rolling.roll(doing);
      return built === null || done === null ? done : { ...done, message: `${built}; ${done.message}` };
    },
    settle: doing => rolling.settle(doing),
  };
  const undo: Partial<typeof work> = {
    fetch: doing => rolling.letGo(doing),
    roll: doing => rolling.goBack(doing),
  };
  return {
    name: DEPLOY,
    check: () => [],
    isForOthers: work => platforms.isForOthers(work),
    onlyWatches: ({ arguments: given }) => given?.['step'] === 'settle',
    async run(task, signal) {
      const step = stepOf(task);
      const perform = step === null ? undefined : (task.kind === 'undo' ? undo : work)[step];
      if (step === null || perform === undefined) {
        return { kind: 'failed', type: 'FATAL', error: 'this node knows no such step of a deployment' };
      }
      return attempt(options, step, perform, task, signal);
    },
  };
}

async function attempt(
  options: DeployAgentOptions,
  step: DeployStep,
  perform: (doing: Doing) => Promise<Done>,
  task: StepTask,
  signal: AbortSignal,
): Promise<StepResult> {
  const { node, audience } = options;
  const { plan, work, kind } = task;
  const app = work.resource;
  const say = (message: string): void => audience.tell(plan, { kind: 'step', app, step, message });
  if (kind === 'work' && task.attempt > 1) {
    note(options, 'deploy-step-resumed', step, task, `${node} goes on with it, attempt ${task.attempt}`);
  }
  try {
    const done = await perform({
      task,
      signal,
      say,
      note: ({ step: part, text }) => audience.tell(plan, { kind: 'output', app, step: part, text }),
    });
    if (done === null) return { kind: 'completed', output: null };
    say(done.message);
    note(options, kind === 'undo' ? 'deploy-step-undone' : 'deploy-step-done', step, task, done.message);
    return { kind: 'completed', output: { value: done } };
  } catch (error) {
    if (signal.aborted) return { kind: 'stopped' };
    return failure(options, step, task, error);
  }
}

function failure(options: DeployAgentOptions, step: DeployStep, task: StepTask, error: unknown): StepResult {
  const { audience, ledger, log } = options;
  const { plan, work, kind } = task;
  const app = work.resource;
  const message = error instanceof Error ? error.message : String(error);
  const output = error instanceof ArtifactError ? error.output : [];
  const type = isHopeless(error) ? 'FATAL' : 'RETRYABLE';
  log.warn('a step of a deployment failed', { app, step, plan, undoing: kind === 'undo', error });
  if (kind === 'work') {
    audience.tell(plan, { kind: 'failed', app, step, message, output });
    if (type === 'FATAL' || isLast(step, task.attempt)) {
      ledger.note({
        kind: 'deploy-failed',
        subject: `app/${app}`,
        message: `${app} was not deployed: ${step} failed: ${message}`,
        details: { step, output, plan },
      });
    }
  }
  return { kind: 'failed', type, error: message };
}

function note(
  { ledger }: DeployAgentOptions,
  kind: string,
  step: DeployStep,
  { plan, work, attempt }: StepTask,
  message: string,
): void {
  ledger.note({
    kind,
    subject: `app/${work.resource}`,
    message: `${work.resource}: ${step}: ${message}`,
    details: { plan, step, attempt },
  });
}

function stepOf({ work }: StepTask): DeployStep | null {
  const named = work.arguments?.['step'];
  return deploySteps.find(step => step === named) ?? null;
}
