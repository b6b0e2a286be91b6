import type { NodeName } from '../../model/ids.ts';
import type { Ledger } from '../ledger.ts';
import type { KnownPlan } from './known-plan.ts';
import type { Turn } from './turn.ts';

/** Of one transaction: a plan with thousands of bad steps is one trouble, not thousands. */
const TOLD_AT_ONCE = 5;

/** Tells the ledger what an operator can act on; what went well is in the plan. */
export function notePlan(ledger: Pick<Ledger, 'note'>, node: NodeName, plan: KnownPlan, turn: Turn): void {
  const given = turn.records.filter(({ state }) => state === 'COMPENSATION_FAILED');
  for (const record of given.slice(0, TOLD_AT_ONCE)) {
    ledger.note({
      kind: 'undoing-given-up',
      subject: `step/${plan.id}/${record.index}`,
      message: `step ${record.index} of plan ${plan.id} could not be undone: ${record.trouble?.error ?? 'for no reason given'}`,
      details: { plan: plan.id, index: record.index, attempt: record.attempt },
    });
  }
  for (const record of turn.poisoned.slice(0, TOLD_AT_ONCE)) {
    if (record.state === 'COMPENSATION_FAILED') continue;
    ledger.note({
      kind: 'step-given-up',
      subject: `step/${plan.id}/${record.index}`,
      message: `step ${record.index} of plan ${plan.id} is not tried again: ${record.trouble?.error ?? ''} (attempt ${record.attempt})`,
      details: { plan: plan.id, index: record.index, attempt: record.attempt },
    });
  }
  if (turn.settle === null || turn.settle === 'COMPLETED') return;
  const { title } = plan.entry.value.spec;
  ledger.note({
    kind: 'plan-ended-badly',
    subject: `plan/${plan.id}`,
    message: `plan ${plan.id}${title === null ? '' : ` ("${title}")`} is ${turn.settle}, as ${node} found`,
    details: { plan: plan.id, state: turn.settle, origin: plan.entry.value.origin },
  });
}
