import type { AppName, NodeName } from '../../model/ids.ts';
import type { StepView } from '../../model/plan-views.ts';
import type { DeployProgress } from '../../model/views.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Plans } from '../../ports/plans.ts';

const LOOK_AGAIN_MS = 500;

/** A deployment came to a bad end, which the ledger knows of. */
export class DeploymentFailed extends Error {
  readonly step: string;
  readonly output: string[];

  constructor(step: string, message: string, output: string[]) {
    super(message);
    this.step = step;
    this.output = output;
  }
}

export interface FollowOptions {
  node: NodeName;
  plans: Pick<Plans, 'watch' | 'plan' | 'steps'>;
  clock: Clock;
}

/** What is wanted of an app once a deployment has made it so. */
export interface Wanted {
  release: number;
  generation: number;
}

/**
 * One deployment as somebody who asked for it hears of it: what is done of it here as it is said, and what other nodes do by what
 * they have written.
 */
export class Follow {
  readonly #options: FollowOptions;
  readonly #app: AppName;
  readonly #send: (progress: DeployProgress) => void;
  /** Steps of which something was heard. */
  readonly #heard = new Set<string>();
  #failed: Extract<DeployProgress, { kind: 'failed' }> | null = null;
  #told = '';

  constructor(options: FollowOptions, app: AppName, send: (progress: DeployProgress) => void) {
    this.#options = options;
    this.#app = app;
    this.#send = send;
  }

  /** For what this node says. */
  readonly hear = (progress: DeployProgress): void => {
    // That comes after what is waited for.
    if (progress.kind === 'step' && progress.step === 'settle') return;
    if (progress.kind === 'step') this.#heard.add(progress.step);
    // Only what is not tried again ends it.
    if (progress.kind === 'failed') this.#failed = progress;
    else this.#send(progress);
  };

  /** Until the release is wanted. @throws DeploymentFailed; AdminError when the plan is gone; the signal's reason */
  async untilWanted(plan: string, signal: AbortSignal): Promise<Wanted> {
    const { plans, clock } = this.#options;
    for (;;) {
      for await (const event of plans.watch(plan, null, signal)) {
        if (event.kind === 'step') {
          const wanted = this.#look(event.step);
          if (wanted !== null) return wanted;
        } else if (event.plan.endedAt !== null) throw await this.#failure(plan);
      }
      signal.throwIfAborted();
      await clock.sleep(LOOK_AGAIN_MS, signal);
    }
  }

  #look(step: StepView): Wanted | null {
    const name = step.name ?? '';
    switch (step.state) {
      case 'RUNNING':
        if (step.lockedBy !== this.#options.node) {
          this.#heard.delete(name);
          this.#tell(name, `${step.lockedBy ?? 'a node'} goes on with it, attempt ${step.attempt}`);
        }
        return null;
      case 'RETRY_WAIT':
        this.#tell(name, `is tried again: ${step.error ?? 'it failed'}`);
        return null;
      case 'COMPLETED': {
        if (this.#failed?.step === name) this.#failed = null;
        const given = valueOf(step);
        const { message } = given;
        if (typeof message === 'string' && !this.#heard.has(name)) this.#tell(name, message);
        if (name !== 'roll') return null;
        return { release: Number(given['release']), generation: Number(given['generation']) };
      }
      default:
        return null;
    }
  }

  #tell(step: string, message: string): void {
    const told = `${step} ${message}`;
    if (told === this.#told) return;
    this.#told = told;
    this.#send({ kind: 'step', app: this.#app, step, message });
  }

  async #failure(plan: string): Promise<DeploymentFailed> {
    const { plans } = this.#options;
    const [{ cancel }, { items }] = await Promise.all([plans.plan(plan), plans.steps(plan, {})]);
    const bad =
      items.findLast(({ error }) => error !== null) ?? items.find(({ state }) => state === 'CANCELLED');
    const step = this.#failed?.step ?? bad?.name ?? 'plan';
    if (cancel !== null) return new DeploymentFailed(step, `${cancel.by} cancelled it, as plan ${plan}`, []);
    const message = this.#failed?.message ?? bad?.error ?? `its plan ${plan} came to a bad end`;
    return new DeploymentFailed(step, message, this.#failed?.output ?? []);
  }
}

function valueOf({ output }: StepView): Record<string, unknown> {
  return output !== null && 'value' in output && typeof output.value === 'object'
    ? { ...(output.value as Record<string, unknown> | null) }
    : {};
}
