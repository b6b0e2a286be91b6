import type { PlanState, StepState } from '../../model/plan.ts';
import type { PlanChange, PlanView, StepView } from '../../model/plan-views.ts';
import type { CliIo } from '../io.ts';
import type { Output } from '../output.ts';
import { badSteps, countsText, stepText, wordOf } from './plan-words.ts';

/** Tells a person how a plan goes. */
export interface Teller {
  hear(event: PlanChange): void;
  /** Nothing more comes. */
  end(): void;
}

const REDRAWN_AFTER_MS = 100;
const TOLD_AFTER_MS = 5000;
/** Of so many steps a log has room for each change. */
const FEW_STEPS = 20;
const BAR = 20;
const goesOn: readonly PlanState[] = ['PENDING', 'RUNNING', 'COMPENSATING'];

/**
 * A line for each change of a small plan; of a larger one how many steps are in which state, now and then, and each that went wrong.
 * On a terminal a line that is written over, and below it nothing but what went wrong. `endIsAnswer` = how the plan has ended is told
 * by whoever asks for this: a log is not to have that twice.
 */
export function progressTeller(
  out: Output,
  write: (text: string) => void,
  { endIsAnswer = false } = {},
): Teller {
  return out.io.isTty ? redrawn(out, write) : inLines(out, write, endIsAnswer);
}

function inLines(out: Output, write: (text: string) => void, endIsAnswer: boolean): Teller {
  let plan: PlanView | null = null;
  /** Steps are told before the plan, and only that says how many there are. */
  const changed: StepView[] = [];
  let told = '';
  let state = '';
  const tell = (): void => {
    if (plan === null || (endIsAnswer && !goesOn.includes(plan.state))) return;
    const counts = isSmall(plan) ? '' : `, ${countsText(plan.counts)}`;
    const text = `${plan.plan}: ${out.state(wordOf(plan.state))}${counts}`;
    if (text !== told) write(`${text}\n`);
    told = text;
  };
  const pace = paced(out.io, TOLD_AFTER_MS, tell);
  return {
    hear(event) {
      if (event.kind === 'plan') plan = event.plan;
      else if (badSteps.includes(event.step.state)) write(`${stepText(event.step, out)}\n`);
      else if (plan === null || isSmall(plan)) changed.push(event.step);
      if (plan === null) return;
      for (const step of changed.splice(0)) {
        const isNews = step.state !== 'PENDING' || step.attempt > 0;
        if (isNews && isSmall(plan)) write(`${stepText(step, out)}\n`);
      }
      if (state === plan.state) pace.soon();
      else pace.now();
      state = plan.state;
    },
    end() {
      pace.end();
      tell();
    },
  };
}

function isSmall({ steps }: PlanView): boolean {
  return steps <= FEW_STEPS;
}

function redrawn(out: Output, write: (text: string) => void): Teller {
  const states = new Map<number, StepState>();
  let plan: PlanView | null = null;
  const draw = (): void => {
    if (plan === null) return;
    // A line that wraps could not be written over.
    const columns = out.io.stdout.columns ?? 80;
    write(`\r${lineOf(plan, states).slice(0, columns - 1)}\u001b[K`);
  };
  const pace = paced(out.io, REDRAWN_AFTER_MS, draw);
  return {
    hear(event) {
      if (event.kind === 'plan') plan = event.plan;
      else {
        states.set(event.step.index, event.step.state);
        if (badSteps.includes(event.step.state)) write(`\r\u001b[K${stepText(event.step, out)}\n`);
      }
      pace.soon();
    },
    end() {
      pace.end();
      draw();
      if (plan !== null) write('\n');
    },
  };
}

/** Tells at once, and then again only once that time has passed, however often it is asked to: the last state is always told. */
function paced(io: CliIo, afterMs: number, tell: () => void): { now(): void; soon(): void; end(): void } {
  const ended = new AbortController();
  let toldMs = -Infinity;
  let isWaiting = false;
  const now = (): void => {
    toldMs = io.now();
    tell();
  };
  const later = (): void => {
    isWaiting = false;
    if (!ended.signal.aborted) now();
  };
  return {
    now,
    soon() {
      if (isWaiting) return;
      // Also when the wall clock was set back.
      const restMs = Math.min(afterMs, toldMs + afterMs - io.now());
      if (restMs <= 0) now();
      else {
        isWaiting = true;
        io.sleep(restMs, ended.signal).then(later, () => undefined);
      }
    },
    end: () => ended.abort(),
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
