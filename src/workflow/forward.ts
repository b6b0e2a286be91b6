import type {
  EndedStep,
  PlanCancel,
  RunningStep,
  SkippedStep,
  StepRecord,
  StepTrouble,
  WaitingStep,
} from '../model/plan.ts';
import { afterFailure, limitOf, started } from './attempts.ts';
import { readiness } from './conditions.ts';
import { ended, historyOf, type Moment } from './history.ts';
import type { Move, NextMoves, Outlook } from './moves.ts';
import { stepSpec } from './shape.ts';
import { nextStepState } from './step-machine.ts';
import type { Survey } from './survey.ts';

/** How long what runs has to stop after its plan was cancelled, before it is written down that it did not. */
const STOP_WITHIN_MS = 10_000;

/** The moves of a chunk while steps' own work goes on anywhere in the plan. */
export function forwardMoves(outlook: Outlook, counts: Survey): NextMoves {
  const chunk = new Forward(outlook, counts);
  chunk.watchRunning();
  chunk.lookAtWaiting();
  chunk.lookAtPending();
  chunk.start();
  return { moves: chunk.moves, wakeInMs: chunk.wakeInMs };
}

class Forward {
  readonly moves: Move[] = [];
  wakeInMs: number | null = null;
  readonly #outlook: Outlook;
  /** With what the moves so far make of it. */
  readonly #records: (StepRecord | undefined)[];
  /** In the plan's order. */
  readonly #indexes: number[];
  readonly #ready: number[] = [];
  readonly #running = new Map<string, number>();
  #stoppedBy: number | null;
  #slots: number;

  constructor(outlook: Outlook, counts: Survey) {
    const { first, count } = outlook.chunk;
    const { places } = outlook.shape;
    this.#outlook = outlook;
    this.#records = outlook.records.slice();
    this.#indexes = Array.from({ length: count }, (_, place) => first + place).sort(
      (a, b) => (places[a] ?? 0) - (places[b] ?? 0),
    );
    this.#stoppedBy = outlook.shape.onFailure === 'continue' ? null : counts.firstFailed;
    this.#slots = outlook.slots;
  }

  watchRunning(): void {
    for (const index of this.#indexes) {
      const record = this.#records[index];
      if (record?.state !== 'RUNNING') continue;
      this.#watch(record);
      const key = stepSpec(this.#outlook.shape, index).concurrency?.key;
      if (key !== undefined && this.#records[index]?.state === 'RUNNING') {
        this.#running.set(key, (this.#running.get(key) ?? 0) + 1);
      }
    }
  }

  lookAtWaiting(): void {
    for (const index of this.#indexes) {
      // Not those that wait since just now: what is known of their time is that of the attempt before.
      const record = this.#outlook.records[index];
      if (record?.state !== 'RETRY_WAIT') continue;
      const given = this.#givenUp(record);
      if (given !== null) this.#note(given.record, given.reason);
      else this.#wait(record);
    }
  }

  lookAtPending(): void {
    const { cancel, shape, moment } = this.#outlook;
    for (const index of this.#indexes) {
      const record = this.#records[index] ?? { ...historyOf(undefined, index), state: 'PENDING' };
      if (record.state !== 'PENDING') continue;
      if (cancel !== null) {
        this.#note(ended(record, 'Cancel', moment), cancelText(cancel));
        continue;
      }
      const next = readiness(shape, this.#records, index, this.#stoppedBy);
      if (next.kind === 'ready') this.#ready.push(index);
      if (next.kind === 'never') this.#note(skipped(record, next.reason, moment), next.reason);
    }
  }

  start(): void {
    const { shape, mayStart } = this.#outlook;
    for (const index of this.#ready.sort((a, b) => a - b)) {
      if (this.#slots <= 0) return;
      if (mayStart && !mayStart(index)) continue;
      const { concurrency } = stepSpec(shape, index);
      if (concurrency && this.#holders(concurrency.key) >= concurrency.limit) continue;
      if (concurrency) this.#running.set(concurrency.key, (this.#running.get(concurrency.key) ?? 0) + 1);
      this.#slots--;
      this.#start(index, concurrency?.key ?? null);
    }
  }

  #holders(key: string): number {
    return this.#outlook.holders(key) + (this.#running.get(key) ?? 0);
  }

  #watch(record: RunningStep): void {
    const { shape, cancel, nowMs, cancelSinceMs, moment } = this.#outlook;
    const { index } = record;
    const step = stepSpec(shape, index);
    const elapsedMs = this.#elapsedMs(index);
    const limitMs = limitOf(step, record);
    if (cancel?.kind === 'complete-by') {
      const error = cancelText(cancel);
      const trouble = troubled(record, `${error}: it may still have done its work`);
      this.#timeOut(ended(record, 'TimeOut', moment, { trouble }), error);
      return;
    }
    if (elapsedMs >= limitMs) {
      const error = `it took longer than ${limitMs / 1000} s: it may still have done its work`;
      const after = afterFailure(
        step,
        record,
        { error, type: 'RETRYABLE', elapsedMs, unknown: true },
        moment,
      );
      this.#timeOut(after, error);
      return;
    }
    this.#wakeIn(limitMs - elapsedMs);
    if (cancel === null) return;
    const stopInMs = cancelSinceMs + STOP_WITHIN_MS - nowMs;
    if (stopInMs > 0) {
      this.moves.push({ kind: 'stop', index, reason: cancelText(cancel) });
      this.#wakeIn(stopInMs);
      return;
    }
    const error = `it did not stop within ${STOP_WITHIN_MS / 1000} s of being asked: it may still run`;
    this.#timeOut(ended(record, 'Cancel', moment, { trouble: troubled(record, error) }), error);
  }

  /** What ends a step that waits to be tried again, if anything does. */
  #givenUp(record: WaitingStep): { record: EndedStep; reason: string } | null {
    const { cancel, moment } = this.#outlook;
    if (cancel !== null) {
      const event = cancel.kind === 'complete-by' ? 'TimeOut' : 'Cancel';
      return { record: ended(record, event, moment), reason: cancelText(cancel) };
    }
    if (this.#stoppedBy === null || record.before !== undefined) return null;
    const reason = `not tried again: the plan stopped when step ${this.#stoppedBy} failed`;
    return { record: ended(record, 'Fail', moment), reason };
  }

  #wait(record: WaitingStep): void {
    const { index, wait } = record;
    const leftMs = wait.waitMs - this.#elapsedMs(index);
    if (limitOf(stepSpec(this.#outlook.shape, index), this.#spent(record)) <= 0) {
      const reason = 'no time is left of its complete-by';
      this.#note(ended(record, 'TimeOut', this.#outlook.moment), reason);
    } else if (leftMs > 0) this.#wakeIn(leftMs);
    else this.#ready.push(index);
  }

  /** With the wait so far. */
  #spent(record: WaitingStep): { spentMs: number } {
    return { spentMs: (record.spentMs ?? 0) + this.#elapsedMs(record.index) };
  }

  #start(index: number, concurrencyKey: string | null): void {
    const { shape, self, moment } = this.#outlook;
    const before = this.#records[index];
    const waitedMs = before?.state === 'RETRY_WAIT' ? this.#elapsedMs(index) : 0;
    const step = stepSpec(shape, index);
    const record = started(step, before, index, self, waitedMs, moment);
    const reason =
      record.attempt === 1 ? 'it is ready' : `it is ready to be tried again, as attempt ${record.attempt}`;
    const limitMs = limitOf(step, record);
    this.#records[index] = record;
    this.moves.push({ kind: 'start', index, record, limitMs, concurrencyKey, reason });
    this.#wakeIn(limitMs);
  }

  #timeOut(record: EndedStep | WaitingStep, reason: string): void {
    this.moves.push({ kind: 'time-out', index: record.index, record, reason });
    this.#now(record);
  }

  #note(record: EndedStep | SkippedStep, reason: string): void {
    this.moves.push({ kind: 'note', index: record.index, record, reason });
    this.#now(record);
  }

  #now(record: EndedStep | SkippedStep | WaitingStep): void {
    this.#records[record.index] = record;
    if (record.state === 'RETRY_WAIT') this.#wakeIn(record.wait.waitMs);
    const failed = record.state === 'FAILED' || record.state === 'TIMED_OUT';
    if (failed && this.#outlook.shape.onFailure !== 'continue') this.#stoppedBy ??= record.index;
  }

  #elapsedMs(index: number): number {
    const { nowMs, sinceMs } = this.#outlook;
    return nowMs - (sinceMs(index) ?? nowMs);
  }

  #wakeIn(inMs: number): void {
    this.wakeInMs = Math.min(this.wakeInMs ?? inMs, inMs);
  }
}

function skipped(record: StepRecord, reason: string, moment: Moment): SkippedStep {
  nextStepState(record.state, 'Skip');
  return { ...historyOf(record, record.index), state: 'SKIPPED', reason, endedAt: moment.timestamp(0) };
}

function troubled(record: StepRecord, error: string): StepTrouble {
  return { failures: (record.trouble?.failures ?? 0) + 1, error, type: 'RETRYABLE', unknown: true };
}

function cancelText(cancel: PlanCancel): string {
  return cancel.kind === 'asked' ? `${cancel.by} cancelled the plan` : "the plan's complete-by is over";
}
