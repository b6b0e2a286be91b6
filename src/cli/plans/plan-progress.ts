import type { StepState } from '../../model/plan.ts';
import type { PlanEvent, PlanView } from '../../model/plan-views.ts';
import type { Output } from '../output.ts';
import { badSteps, countsText, stepText, wordOf } from './plan-words.ts';

/** Tells a person how a plan goes. */
export interface Teller {
  hear(event: PlanEvent): void;
  /** Nothing more comes. */
  end(): void;
}

const REDRAWN_AFTER_MS = 100;
const BAR = 20;

/** A line for each change; on a terminal one that is written over, and below it nothing but what went wrong. */
export function progressTeller(out: Output, write: (text: string) => void): Teller {
  return out.io.isTty ? redrawn(out, write) : inLines(out, write);
}

function inLines(out: Output, write: (text: string) => void): Teller {
  let told = '';
  return {
    hear(event) {
      if (event.kind === 'step') {
        if (event.step.state !== 'PENDING' || event.step.attempt > 0) write(`${stepText(event.step, out)}\n`);
        return;
      }
      const text = `${event.plan.plan}: ${out.state(wordOf(event.plan.state))}`;
      if (text !== told) write(`${text}\n`);
      told = text;
    },
    end: () => undefined,
  };
}

function redrawn(out: Output, write: (text: string) => void): Teller {
  const states = new Map<number, StepState>();
  let plan: PlanView | null = null;
  let drawnMs = -Infinity;
  const draw = (): void => {
    if (plan === null) return;
    drawnMs = out.io.now();
    // A line that wraps could not be written over.
    const columns = out.io.stdout.columns ?? 80;
    write(`\r${lineOf(plan, states).slice(0, columns - 1)}\u001b[K`);
  };
  return {
    hear(event) {
      if (event.kind === 'plan') plan = event.plan;
      else {
        states.set(event.step.index, event.step.state);
        if (badSteps.includes(event.step.state)) write(`\r\u001b[K${stepText(event.step, out)}\n`);
      }
      if (out.io.now() - drawnMs >= REDRAWN_AFTER_MS) draw();
    },
    end() {
      draw();
      if (plan !== null) write('\n');
    },
  };
}

function lineOf(plan: PlanView, states: ReadonlyMap<number, StepState>): string {
  const counts: PlanView['counts'] = {};
  for (const state of states.values()) counts[state] = (counts[state] ?? 0) + 1;
  const { PENDING = 0, RUNNING = 0, RETRY_WAIT = 0, COMPENSATING = 0 } = counts;
  const done = states.size - PENDING - RUNNING - RETRY_WAIT - COMPENSATING;
  const filled = plan.steps === 0 ? 0 : Math.floor((BAR * done) / plan.steps);
  const bar = `[${'='.repeat(filled)}${' '.repeat(BAR - filled)}]`;
  return `${plan.plan}: ${wordOf(plan.state)} ${bar} ${done}/${plan.steps}  ${countsText(counts)}`;
}
