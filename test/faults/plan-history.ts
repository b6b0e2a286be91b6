import type { Token } from '../../src/model/ids.ts';
import type { StepRecord, StepSpec } from '../../src/model/plan.ts';
import { hasEnded } from '../../src/workflow/step-machine.ts';
import type { StepRequest } from '../support/step-resource.ts';

/** A step as the store has it, and the token of whoever owned it then. */
export interface StepSeen {
  record: StepRecord;
  token: Token | null;
}

/** How far a plan had come. */
export interface Progress {
  ended: number;
  running: number;
  open: number;
}

const MOST_TOLD = 5;

/** What the store said of one plan's steps, to be held against what their resource was asked meanwhile. All of them are to complete. */
export class PlanHistory {
  readonly #plan: string;
  readonly #steps: readonly Pick<StepSpec, 'dependsOn'>[];
  readonly #seen = new Map<number, StepSeen>();
  readonly #trouble: string[] = [];

  constructor(plan: string, steps: readonly Pick<StepSpec, 'dependsOn'>[]) {
    this.#plan = plan;
    this.#steps = steps;
  }

  get progress(): Progress {
    const records = [...this.#seen.values()].map(({ record }) => record);
    const ended = records.filter(({ state }) => hasEnded(state)).length;
    const running = records.filter(({ state }) => state === 'RUNNING').length;
    return { ended, running, open: this.#steps.length - ended };
  }

  /** As they all were at one moment; what happened since the moment before need not have been seen. */
  saw(now: readonly StepSeen[]): void {
    const started: number[] = [];
    for (const { record, token } of now) {
      const { index } = record;
      const before = this.#seen.get(index);
      if (before !== undefined && hasEnded(before.record.state)) {
        const same = JSON.stringify(before.record) === JSON.stringify(record);
        if (!same) this.#trouble.push(`step ${index} was ${told(before.record)}, and then ${told(record)}`);
        continue;
      }
      if (before !== undefined && record.attempt < before.record.attempt)
        this.#trouble.push(`step ${index} went from ${told(before.record)} to ${told(record)}`);
      if (record.attempt > 0 && (before?.record.attempt ?? 0) === 0) started.push(index);
      this.#seen.set(index, { record, token });
    }
    for (const index of started) {
      for (const parent of this.#steps[index]?.dependsOn ?? []) {
        if (this.#seen.get(parent)?.record.state === 'COMPLETED') continue;
        this.#trouble.push(`step ${index} was started before step ${parent} had completed`);
      }
    }
  }

  /** Against all that the resource let in of it, in any order. */
  judge(letIn: readonly StepRequest[]): string[] {
    const byKey = new Map<string, StepRequest[]>();
    for (const request of letIn) {
      const others = byKey.get(request.key);
      if (others === undefined) byKey.set(request.key, [request]);
      else others.push(request);
    }
    const of = (index: number): StepRequest[] => byKey.get(`${this.#plan}/${index}`) ?? [];
    const keys = new Set([...this.#steps.keys()].map(index => `${this.#plan}/${index}`));
    const trouble = [
      ...this.#trouble,
      ...[...byKey.keys()].flatMap(key => (keys.has(key) ? [] : [`${key} is no step's key`])),
      ...[...this.#steps.keys()].flatMap(index => this.#judge(index, of)),
    ];
    const more = trouble.length - MOST_TOLD;
    return more > 0 ? [...trouble.slice(0, MOST_TOLD), `and ${more} more like these`] : trouble;
  }

  #judge(index: number, of: (index: number) => StepRequest[]): string[] {
    const seen = this.#seen.get(index);
    const what = `step ${index}`;
    if (seen?.record.state !== 'COMPLETED') return [`${what} is ${seen ? told(seen.record) : 'PENDING'}`];
    const requests = of(index);
    const effects = requests.filter(({ effect }) => effect).length;
    const trouble = effects === 1 ? [] : [`${what} took effect ${effects} times`];
    const token = BigInt(seen.token ?? 0);
    const later = requests.find(request => request.token > token);
    if (later) trouble.push(`${what} completed under token ${token}, and was asked for under ${later.token}`);
    const began = Math.min(...requests.map(({ askedAt }) => askedAt));
    for (const parent of this.#steps[index]?.dependsOn ?? []) {
      const done = Math.min(...of(parent).map(({ answeredAt }) => answeredAt ?? Infinity));
      if (began < done) trouble.push(`${what} was asked for before step ${parent} was answered`);
    }
    return trouble;
  }
}

function told({ state, attempt }: StepRecord): string {
  return `${state} in attempt ${attempt}`;
}
