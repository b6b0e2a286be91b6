import type { PlanSpec, StepState } from '../../model/plan.ts';
import type { PlanView, ScheduleView, StepView } from '../../model/plan-views.ts';
import type { Output } from '../output.ts';
import { countText } from '../words.ts';

/** In the order in which a person wants to read them. */
const inOrder: StepState[] = [
  'COMPLETED',
  'RUNNING',
  'RETRY_WAIT',
  'PENDING',
  'FAILED',
  'TIMED_OUT',
  'CANCELLED',
  'SKIPPED',
  'COMPENSATING',
  'COMPENSATED',
  'COMPENSATION_FAILED',
];

/** Those that need a person's eye. */
export const badSteps: StepState[] = ['FAILED', 'TIMED_OUT', 'COMPENSATION_FAILED'];

/** `3 completed, 1 running` */
export function countsText(counts: PlanView['counts'], painted: (word: string) => string = String): string {
  return inOrder
    .flatMap(state => (counts[state] ? [`${counts[state]} ${painted(wordOf(state))}`] : []))
    .join(', ');
}

/** `timed out` */
export function wordOf(state: string): string {
  return state.toLowerCase().replaceAll('_', ' ');
}

/** `step 3 (load)` */
export function stepName({ index, name }: Pick<StepView, 'index' | 'name'>): string {
  return name === null ? `step ${index}` : `step ${index} (${name})`;
}

/** What became of a step, in one line. */
export function stepText(step: StepView, out: Output): string {
  return `${stepName(step)}: ${out.state(wordOf(step.state))}${detailOf(step)}`;
}

function detailOf(step: StepView): string {
  const again = step.attempt > 1 ? `, attempt ${step.attempt}` : '';
  const trouble = step.error === null ? '' : `: ${step.error}`;
  switch (step.state) {
    case 'RUNNING':
    case 'COMPENSATING':
      return `${step.lockedBy === null ? '' : ` on ${step.lockedBy}`}${again}${step.state === 'RUNNING' ? '' : trouble}`;
    case 'RETRY_WAIT':
      return `${again}${trouble}`;
    case 'SKIPPED':
      return step.reason === null ? '' : `: ${step.reason}`;
    case 'COMPLETED':
    case 'PENDING':
      return again;
    default:
      return trouble;
  }
}

/** `"Nightly" (3 steps)` */
export function planText({ title, steps }: Pick<PlanSpec, 'title' | 'steps'>): string {
  const count = countText(steps.length, 'step');
  return title === null ? `a plan of ${count}` : `"${title}" (${count})`;
}

/** `nightly: 30 2 * * * in Europe/Paris, next at …` */
export function scheduleText({ name, schedule, paused, nextFireAt }: ScheduleView): string {
  const next = paused ? 'paused' : nextFireAt === null ? 'never again' : `next at ${nextFireAt}`;
  return `${name}: ${schedule.expression} in ${schedule.timeZone}, ${next}`;
}
