import type { InstantMs, NodeName, Token } from '../../model/ids.ts';
import type { StepRecord, StepWork } from '../../model/plan.ts';
import { acceptResult } from '../../workflow/attempts.ts';
import { runOf } from '../../workflow/history.ts';
import type { AttemptEnd, Moment } from '../../workflow/history.ts';
import type { Move, Outlook } from '../../workflow/moves.ts';
import { nextMoves } from '../../workflow/next-moves.ts';
import { afterOwnerLost } from '../../workflow/owner-lost.ts';
import { stepSpec, type PlanShape } from '../../workflow/shape.ts';
import { hasEnded } from '../../workflow/step-machine.ts';
import { surveyAfter } from '../../workflow/survey.ts';
import type { RunningAttempt } from './attempts.ts';
import type { KnownChunk, KnownPlan } from './known-plan.ts';

/** Guards that one transaction compares: a step with yet another key waits for the next. */
const KEYS_AT_ONCE = 40;

export interface Arrived {
  attempt: RunningAttempt;
  result: AttemptEnd;
  /** From when it was started to when it arrived. */
  elapsedMs: number;
}

export interface TurnInput {
  plan: KnownPlan;
  shape: PlanShape;
  chunk: KnownChunk;
  self: NodeName;
  /** Under which results count; null = the chunk is being claimed. */
  token: Token | null;
  /** Those that are known to run, by index. */
  attempts: ReadonlyMap<number, RunningAttempt>;
  results: readonly Arrived[];
  slots: number;
  /** How many more attempts of its agent's this node may start; asked once for each agent. */
  room: (work: StepWork) => number;
  holders: (key: string) => number;
  nowMs: InstantMs;
  moment: Moment;
}

export interface Turn {
  /** What changed, to be written; in one transaction, before anything is started. */
  records: StepRecord[];
  starts: Extract<Move, { kind: 'start' | 'undo' }>[];
  /** Indexes of attempts that are over, whatever they still say. */
  over: number[];
  stops: { index: number; reason: string }[];
  refused: { index: number; reason: string }[];
  /** Concurrency keys under which something is started. */
  keys: string[];
  expire: boolean;
  settle: Extract<Move, { kind: 'settle' }>['state'] | null;
  /** Steps at the end of their attempts whose last owner went with one of them. */
  poisoned: StepRecord[];
  /** Something more could be started if this node could do more at once. */
  hungry: boolean;
  /** Something more could be started if its agent had room here, or were here at all. */
  lacksRoom: boolean;
  wakeInMs: number | null;
}

/**
 * All that the owner of a chunk does at once, or whoever claims it: takes in what has arrived, gives up what runs and nobody
 * here knows of, and decides what comes next.
 */
export function takeTurn(input: TurnInput): Turn {
  const { plan, shape, chunk, token, nowMs, moment } = input;
  const { first, count, owner } = chunk.entry.value;
  const records = plan.records.slice();
  const changed = new Map<number, StepRecord>();
  const refused: Turn['refused'] = [];
  const change = (record: StepRecord): void => {
    records[record.index] = record;
    changed.set(record.index, record);
  };
  for (const { attempt, result, elapsedMs } of input.results) {
    const { index } = attempt;
    const step = stepSpec(shape, index);
    const answer = acceptResult(step, records[index], token, attempt, result, elapsedMs, moment);
    if (answer.accepted)
      change(plan.entry.value.cancel === null ? answer.record : told(answer.record, result));
    else refused.push({ index, reason: answer.reason });
  }
  const lost = chunk.entry.value.steps.filter(
    record => records[record.index] === record && runOf(record) !== null && !isKnown(input.attempts, record),
  );
  const since = (index: number): InstantMs | undefined => chunk.since.get(index)?.sinceMs;
  const former = owner?.node ?? runOf(lost[0] ?? noRecord)?.lockedBy ?? 'its owner';
  const afterLoss = afterOwnerLost(shape, lost, former, since, nowMs, moment);
  afterLoss.forEach(change);
  const room = roomLeft(input);
  const { cancel } = plan.entry.value;
  const changes = [...changed.values()].map(after => ({
    index: after.index,
    before: plan.records[after.index],
    after,
  }));
  const counts = surveyAfter(shape, plan.survey(shape), changes);
  const next = nextMoves({
    shape,
    records,
    ...(counts && { counts }),
    chunk: { first, count },
    self: input.self,
    cancel,
    settled: plan.settled,
    nowMs,
    planSinceMs: plan.planSinceMs,
    cancelSinceMs: plan.cancelSinceMs ?? nowMs,
    sinceMs: index =>
      changed.has(index) ? undefined : (input.attempts.get(index)?.startedMs ?? since(index)),
    slots: input.slots,
    mayStart: index => room.take(workOf(shape, records, index)),
    holders: input.holders,
    moment,
  });
  const turn: Turn = {
    records: [],
    starts: [],
    over: [],
    stops: [],
    refused,
    keys: [],
    expire: false,
    settle: null,
    poisoned: afterLoss.filter(
      record => record.state === 'TIMED_OUT' || record.state === 'COMPENSATION_FAILED',
    ),
    hungry: false,
    lacksRoom: room.refused,
    wakeInMs: next.wakeInMs,
  };
  const keys = new Set<string>();
  for (const move of next.moves) {
    if (move.kind === 'start' && move.concurrencyKey !== null) {
      if (keys.size >= KEYS_AT_ONCE && !keys.has(move.concurrencyKey)) {
        turn.hungry = true;
        continue;
      }
      keys.add(move.concurrencyKey);
    }
    if ('record' in move) changed.set(move.index, move.record);
    apply(move, turn);
  }
  turn.keys = [...keys];
  turn.records = [...changed.values()];
  // All who own something of it see that it has ended: of those with nothing else to write, only one is to try.
  if (turn.records.length === 0 && first > 0) turn.settle = null;
  if (turn.starts.length >= input.slots) turn.hungry = true;
  return turn;
}

/** Whether something of a chunk runs, or waits to be tried again by an agent that is here: then it needs its owner. */
export function goesOnHere(
  shape: PlanShape,
  records: readonly (StepRecord | undefined)[],
  { entry: { value } }: KnownChunk,
  has: (work: StepWork) => boolean,
): boolean {
  return value.steps.some(({ index }) => {
    const record = records[index];
    if (record === undefined) return false;
    if (runOf(record) !== null) return true;
    const waits = record.state === 'RETRY_WAIT' || record.state === 'COMPENSATING';
    return waits && has(workOf(shape, records, index));
  });
}

/** What this node sees when it asks whether a chunk needs an owner that can do this much. */
export function outlookOf(
  input: Omit<TurnInput, 'token' | 'attempts' | 'results'>,
  mayStart?: (work: StepWork) => boolean,
): Outlook {
  const { plan, shape, chunk, nowMs } = input;
  const { first, count } = chunk.entry.value;
  return {
    shape,
    records: plan.records,
    counts: plan.survey(shape),
    chunk: { first, count },
    self: input.self,
    cancel: plan.entry.value.cancel,
    settled: plan.settled,
    nowMs,
    planSinceMs: plan.planSinceMs,
    cancelSinceMs: plan.cancelSinceMs ?? nowMs,
    sinceMs: index => chunk.since.get(index)?.sinceMs,
    slots: input.slots,
    ...(mayStart ? { mayStart: index => mayStart(workOf(shape, plan.records, index)) } : {}),
    holders: input.holders,
    moment: input.moment,
  };
}

/** What was told to stop and failed instead may go on elsewhere: what had stopped would say so. */
function told(record: StepRecord, { kind }: AttemptEnd): StepRecord {
  const { trouble } = record;
  return kind === 'failed' && trouble ? { ...record, trouble: { ...trouble, unknown: true } } : record;
}

function apply(move: Move, turn: Turn): void {
  switch (move.kind) {
    case 'start':
    case 'undo':
      turn.starts.push(move);
      break;
    case 'time-out':
      turn.over.push(move.index);
      break;
    case 'stop':
      turn.stops.push({ index: move.index, reason: move.reason });
      break;
    case 'note':
      break;
    case 'expire':
      turn.expire = true;
      break;
    case 'settle':
      turn.settle = move.state;
      break;
  }
}

const noRecord: StepRecord = { index: 0, attempt: 0, state: 'PENDING' };

function isKnown(attempts: TurnInput['attempts'], { index, attempt }: StepRecord): boolean {
  return attempts.get(index)?.attempt === attempt;
}

/** What is to be done next of a step: its own work, or undoing it. */
export function workOf(
  shape: PlanShape,
  records: readonly (StepRecord | undefined)[],
  index: number,
): StepWork {
  const step = stepSpec(shape, index);
  return hasEnded(records[index]?.state ?? 'PENDING') ? (step.compensate ?? step) : step;
}

function roomLeft({ room }: TurnInput): { take: (work: StepWork) => boolean; readonly refused: boolean } {
  const left = new Map<string, number>();
  let refused = false;
  return {
    take: work => {
      const before = left.get(work.agent) ?? room(work);
      if (before <= 0) refused = true;
      left.set(work.agent, before - 1);
      return before > 0;
    },
    get refused() {
      return refused;
    },
  };
}
