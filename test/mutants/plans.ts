import type { Mutant } from './ownership.ts';

const engine = 'test/agent/plans/plan-engine.test.ts';
const writes = { file: 'src/agent/plans/chunk-writes.ts', test: engine };
const transactions = {
  file: 'src/agent/plans/chunk-writes.ts',
  test: 'test/agent/plans/chunk-writes.test.ts',
};
const holders = { file: 'src/agent/plans/key-holders.ts', test: 'test/agent/plans/key-holders.test.ts' };
const known = { file: 'src/agent/plans/known-plan.ts', test: engine };
const overdue = { file: 'src/agent/plans/overdue.ts', test: 'test/agent/plans/plan-care.test.ts' };
const work = { file: 'src/agent/plans/chunk-work.ts', test: engine };
const results = { file: 'src/workflow/attempts.ts', test: 'test/workflow/attempts.test.ts' };
const attempts = { file: 'src/workflow/attempts.ts', test: engine };
const turn = { file: 'src/agent/plans/turn.ts', test: engine };

/** Each takes out one thing that keeps steps of plans from being lost, done twice in the store, or done too many at once. */
export const planMutants: Mutant[] = [
  {
    ...writes,
    name: 'plans: a guard of a concurrency key is not compared',
    search: 'compares.push(compare);',
    replace: 'void compares;',
  },
  {
    ...transactions,
    name: 'plans: a claim does not look whether the former owner is gone',
    search:
      "compares.push({ kind: 'sessions', name: `${former.node}/${former.incarnation}`, is: 'absent' });",
    replace: 'void compares;',
  },
  {
    ...transactions,
    name: 'plans: the revision of a chunk is not compared',
    search: "{ kind: 'steps', name: known.name, revision: known.revision },",
    replace: '',
  },
  {
    ...transactions,
    name: "plans: the writer's own session is not compared",
    search: "{ kind: 'sessions', name: `${node}/${session.incarnation}`, lease: session.lease },",
    replace: '',
  },
  {
    ...transactions,
    name: 'plans: after a lost reply what was written is taken for what was not',
    search: 'entry?.value.owner?.operation !== write.chunk.owner?.operation ||',
    replace: 'true ||',
  },
  {
    ...transactions,
    name: 'plans: after a lost reply what was not written is taken for what was',
    search: 'entry?.value.owner?.operation !== write.chunk.owner?.operation ||',
    replace: '',
  },
  {
    ...holders,
    name: 'plans: a key is held by owners that are gone',
    search:
      'if (this.#options.sessions.get(`${owner.node}/${owner.incarnation}`) !== undefined) count += held;',
    replace: 'count += owner.node === "" ? 0 : held;',
  },
  {
    ...holders,
    name: 'plans: a start that is not known yet is not waited for',
    search: 'entry.revision <= steps.revision ?',
    replace: 'steps.revision >= 0n ?',
  },
  {
    ...known,
    name: 'plans: the count of steps is not kept up with',
    search: 'this.#survey = this.#surveyAfter(changes);',
    replace: 'void changes;',
  },
  {
    ...work,
    name: 'plans: a result that can not be written any more is not counted',
    search: '    this.#parts.attempts.countLate(this.#results.length);\n',
    replace: '',
  },
  {
    ...overdue,
    name: 'plans: of two supervisors each frees what the other has freed',
    search: "      { kind: 'steps', name: entry.name, revision: entry.revision },\n",
    replace: '',
  },
  {
    ...overdue,
    name: 'plans: what runs past its time stays with an owner that does nothing',
    search: '} else if (nowMs - askedMs >= ANSWER_WITHIN_MS) {',
    replace: '} else if (nowMs < askedMs) {',
  },
  {
    ...results,
    name: 'plans: a result under an old token counts',
    search: 'if (held === null || claim.token !== held) {',
    replace: 'if (held === null) {',
  },
  {
    ...results,
    name: 'plans: a result of an earlier attempt counts',
    search: 'if (claim.attempt !== record.attempt) {',
    replace: 'if (claim.attempt > record.attempt) {',
  },
  {
    ...results,
    name: 'plans: a result that comes too late counts',
    search: 'return elapsedMs < limitMs\n    ? null',
    replace: 'return elapsedMs < Infinity\n    ? null',
  },
  {
    ...work,
    name: 'plans: started before the record is written',
    search: 'const done = this.#begun(this.#agentsOf(turn));',
    replace:
      "const done = this.#begun(this.#agentsOf(turn));\n    this.#token ??= '0';\n    if (this.plan.shape) this.#start(turn, this.plan.shape, session);\n    turn.starts = [];",
  },
  {
    file: 'src/agent/plans/submit.ts',
    test: engine,
    name: 'plans: what is begun with its plan takes no room',
    search: 'attempts.reserve(begun.agents)',
    replace: 'attempts.reserve([])',
  },
  {
    ...work,
    name: 'plans: what arrives while a transaction is under way is lost',
    search: 'const results = [...this.#results];',
    replace: 'const results = this.#results;',
  },
  {
    ...work,
    name: 'plans: an agent that is told to end starts more',
    search: 'this.#leaving ? 0 : slots',
    replace: 'slots',
  },
  {
    ...work,
    name: 'plans: an agent that is told to end keeps its part of a plan',
    search: "if (this.#leaving) this.#release(session, 'it is for others to take');",
    replace: 'if (this.#leaving) return;',
  },
  {
    ...work,
    name: 'plans: what was cut short is told as a failure',
    search: "return { kind: 'cut-short', error: `${this.#cut}: it may have done its work` };",
    replace: "return { kind: 'failed', type: 'RETRYABLE', error: this.#cut };",
  },
  {
    ...attempts,
    name: 'plans: an upgrade costs a step an attempt',
    search: ' - (record.cut ?? 0);\n  const retry',
    replace: ';\n  const retry',
  },
  {
    ...attempts,
    name: 'plans: what may be tried only once is done again after an upgrade',
    search: 'if (retryOf(step).attempts <= 1)\n    return',
    replace: 'if (retryOf(step).attempts < 1)\n    return',
  },
  {
    ...turn,
    name: 'plans: what an owner left running is left so',
    search: 'afterLoss.forEach(change);',
    replace: 'void change;',
  },
  {
    file: 'src/agent/plans/schedules.ts',
    test: 'test/agent/plans/app-schedules.test.ts',
    name: 'plans: what an app scheduled before fires though it wants something else',
    search: 'compares: [asItIs(name, entry), ...held],',
    replace: 'compares: [asItIs(name, entry)],',
  },
  {
    file: 'src/agent/rebalancing.ts',
    test: 'test/agent/rebalancing.test.ts',
    name: 'rebalance: what is being deployed is moved all the same',
    search: 'if (record.rollout) return',
    replace: "if (record.rollout && record.app === '') return",
  },
  {
    file: 'src/placement/rank.ts',
    test: 'test/placement/rank.test.ts',
    name: 'rebalance: whoever is the best takes what moves to another',
    search: 'const movesHere = free.movesTo === node.node;',
    replace: 'const movesHere = free.subject === node.node;',
  },
];
