import { setImmediate as macrotask } from 'node:timers/promises';
import type { PlanEvent, PlanView, StepView } from '../../src/model/plan-views.ts';

const PLAN = { plan: 'plan-1', state: 'RUNNING', steps: 1, onFailure: 'stop', counts: {} } as PlanView;

/** A plan of one step that is tried without end, until it is told to end. */
export class BusyPlan {
  attempt = 0;
  ended = false;
  private wake: () => void = () => undefined;

  change(): void {
    this.attempt++;
    this.wake();
  }

  end(): void {
    this.ended = true;
    this.wake();
  }

  async *watch(signal: AbortSignal): AsyncGenerator<PlanEvent> {
    yield {
      kind: 'plan',
      revision: '1',
      changed: '1',
      plan: PLAN,
    };
    for (let told = -1; !signal.aborted;) {
      if (told < this.attempt) {
        told = this.attempt;
        const step = { plan: 'plan-1', index: 0, state: 'RUNNING', attempt: told, output: null } as StepView;
        const revision = String(told + 1);
        yield { kind: 'step', revision, changed: revision, step };
      } else if (this.ended) return;
      else await new Promise<void>(resolve => (this.wake = resolve));
    }
  }
}

/** Does work, and changes the plan, turn by turn, until the process has used so much processor time; gives what of it was not that work. */
export async function otherShare(cpuMs: number, plan: BusyPlan): Promise<number> {
  const began = process.cpuUsage();
  let workMs = 0;
  let sum = 0;
  for (;;) {
    const before = process.cpuUsage();
    for (let n = 0; n < 200_000; n++) sum += n % 7;
    workMs += inMs(process.cpuUsage(before));
    plan.change();
    await macrotask();
    const usedMs = inMs(process.cpuUsage(began));
    if (usedMs >= cpuMs && sum > 0) return 1 - workMs / usedMs;
  }
}

function inMs({ user, system }: NodeJS.CpuUsage): number {
  return (user + system) / 1000;
}
