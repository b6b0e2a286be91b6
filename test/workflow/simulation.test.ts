import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import type { PlanSpec, StepRecord, StepSpec } from '../../src/model/plan.ts';
import { checkPlan } from '../../src/workflow/check-plan.ts';
import { hasEnded } from '../../src/workflow/step-machine.ts';
import { planState, survey } from '../../src/workflow/survey.ts';
import { plan, step } from './helpers.ts';
import { supervisorPeriodMs, tickMs, World, type Behaviour } from './world.ts';

/** From the end of a session, or of a step's time, to the next owner's first write: all staggers, and mirrors that lag. */
const takeoverMs = 20 * tickMs;
const chaosMs = 40_000;

const retry = fc.record({
  attempts: fc.integer({ min: 1, max: 3 }),
  firstWaitSeconds: fc.constantFrom(0, 0.3),
  factor: fc.constant(2),
  longestWaitSeconds: fc.constant(2),
  jitter: fc.constantFrom(0, 0.5),
});

const specs: fc.Arbitrary<PlanSpec> = fc
  .record({
    steps: fc.array(
      fc.record({
        parents: fc.array(fc.nat(), { maxLength: 3 }),
        condition: fc.constantFrom(undefined, undefined, 'any-succeeded', 'all-done', 'any-failed'),
        timeoutSeconds: fc.constantFrom(1, 2),
        completeBySeconds: fc.constantFrom(undefined, 3),
        retry,
        undo: fc.option(retry),
        limited: fc.boolean(),
      }),
      { minLength: 1, maxLength: 14 },
    ),
    sequential: fc.boolean(),
    onFailure: fc.constantFrom('stop', 'continue', 'compensate', 'compensate'),
    completeBySeconds: fc.constantFrom(null, null, 8),
  })
  .map(({ steps, ...more }) => {
    const saga = more.onFailure === 'compensate';
    return plan(
      steps.map((one, index): StepSpec => {
        const { timeoutSeconds, completeBySeconds, condition } = one;
        const dependsOn = index === 0 ? [] : [...new Set(one.parents.map(parent => parent % index))];
        const waits = dependsOn.length > 0 || (more.sequential && index > 0);
        return step({
          dependsOn,
          timeoutSeconds,
          retry: one.retry,
          ...(condition && waits ? { condition: condition } : {}),
          ...(completeBySeconds === undefined ? {} : { completeBySeconds }),
          ...(saga && one.undo ? { compensate: { ...step(), timeoutSeconds, retry: one.undo } } : {}),
          ...(one.limited ? { concurrency: { key: 'db', limit: 2 } } : {}),
        });
      }),
      { ...more, onFailure: more.onFailure },
    );
  });

test('whatever steps answer, and whichever nodes die or freeze, every plan comes to one end by the rules', t => {
  const seen = new Map<string, number>();
  fc.assert(
    fc.property(specs, fc.integer(), fc.integer({ min: 1, max: 4 }), (spec, seed, chunks) => {
      t.deepEqual(checkPlan(spec), []);
      const random = randomOf(seed);
      let retried = false;
      const watch = new Watch(t, spec);
      const world = new World({
        spec,
        chunks: Math.min(chunks, spec.steps.length),
        random,
        behave: moody(random),
        slots: 3,
        onChange: (...change) => (retried ? undefined : watch.changed(...change)),
      });
      const beginMs = world.nowMs;
      world.run(beginMs + 600_000, () => {
        if (world.nowMs - beginMs < chaosMs) trouble(world, random);
        else for (const node of world.nodes) heal(world, node);
        watch.nothingRunsTooLong(world);
      });
      watch.cameToAnEnd(world);
      count(seen, world.settled ?? 'none');
      if (world.refused > 0) count(seen, 'a late result');
      const completed = world.records.filter(record => record?.state === 'COMPLETED');
      retried = world.retry();
      if (!retried) return;
      count(seen, 'a retry by hand');
      for (const node of world.nodes) heal(world, node);
      world.run(world.nowMs + 600_000, () => watch.nothingRunsTooLong(world));
      t.not(world.settled, null);
      if (spec.onFailure === 'compensate') return;
      for (const before of completed)
        t.is(world.records[before?.index ?? -1], before, 'what completed stays');
    }),
    { numRuns: 300 },
  );
  const ends = [
    'CANCELLED',
    'COMPENSATED',
    'COMPENSATION_FAILED',
    'COMPLETED',
    'FAILED',
    'a late result',
    'a retry by hand',
  ];
  t.deepEqual([...seen.keys()].sort(), ends, 'the worlds were varied enough to show every end');
});

/** A diamond with a tail; every step can be undone. */
const saga = plan(
  [[], [0], [0], [1, 2], [3], [4]].map(dependsOn =>
    step({
      dependsOn,
      timeoutSeconds: 1,
      retry: { attempts: 2, firstWaitSeconds: 0.1, factor: 2, longestWaitSeconds: 1, jitter: 0 },
      compensate: {
        agent: 'noop',
        resource: '',
        timeoutSeconds: 1,
        retry: { attempts: 4, firstWaitSeconds: 0.1, factor: 2, longestWaitSeconds: 1, jitter: 0 },
      },
    }),
  ),
  { onFailure: 'compensate' },
);
const done = { afterMs: 150, result: { kind: 'completed', output: null } } as const;
const fatal = { afterMs: 150, result: { kind: 'failed', type: 'FATAL', error: 'no' } } as const;
const retryable = { afterMs: 150, result: { kind: 'failed', type: 'RETRYABLE', error: 'busy' } } as const;

interface Injection {
  work?: Behaviour;
  undo?: Behaviour;
  /** The owner of the step dies once while it works at it. */
  dies?: 'work' | 'undo';
  settles: string;
}
const injections: Record<string, Injection> = {
  'it fails for good': { work: () => fatal, settles: 'COMPENSATED' },
  'it fails until no attempts are left': { work: () => retryable, settles: 'COMPENSATED' },
  'it never answers': { work: () => null, settles: 'COMPENSATED' },
  'it fails once': { work: (_, __, attempt) => (attempt === 1 ? retryable : done), settles: 'COMPLETED' },
  'its owner dies once': { dies: 'work', settles: 'COMPLETED' },
  'its owner dies while undoing it': { work: () => fatal, dies: 'undo', settles: 'COMPENSATED' },
  'it fails, and so does undoing it, once': {
    work: () => fatal,
    undo: (_, __, attempt) => (attempt === 2 ? retryable : done),
    settles: 'COMPENSATED',
  },
  'it fails, and cannot be undone': { work: () => fatal, undo: () => fatal, settles: 'COMPENSATION_FAILED' },
};
for (const [what, injection] of Object.entries(injections)) {
  test(`a saga in which, at each step in turn, ${what}`, t => {
    for (const injected of saga.steps.keys()) {
      let dead = false;
      const watch = new Watch(t, saga);
      const behave: Behaviour = (index, kind, attempt) => {
        const injectedHere = index === injected ? injection[kind] : undefined;
        return injectedHere ? injectedHere(index, kind, attempt) : done;
      };
      const world = new World({
        spec: saga,
        chunks: 3,
        random: () => 0.5,
        behave,
        slots: 4,
        onChange: (...change) => watch.changed(...change),
      });
      world.run(world.nowMs + 120_000, () => {
        const victim = world.nodes.find(node =>
          node.attempts.some(({ index, kind }) => index === injected && kind === injection.dies),
        );
        if (!dead && victim) {
          world.kill(victim);
          dead = true;
        }
        watch.nothingRunsTooLong(world);
      });
      watch.cameToAnEnd(world);
      t.is(dead, injection.dies !== undefined);
      t.is(world.settled, injection.settles as typeof world.settled, `step ${injected}`);
      if (injection.settles === 'COMPENSATED') {
        const states = new Set(world.records.map(record => record?.state));
        t.true(
          [...states].every(state => state === 'COMPENSATED' || state === 'SKIPPED'),
          `step ${injected}`,
        );
      }
    }
  });
}

/** Holds every change of a step against the rules. */
class Watch {
  readonly #t: ExecutionContext;
  readonly #spec: PlanSpec;
  readonly #completed = new Set<number>();
  /** In the order in which their undoing began. */
  readonly #undoing: number[] = [];

  constructor(t: ExecutionContext, spec: PlanSpec) {
    this.#t = t;
    this.#spec = spec;
  }

  changed(before: StepRecord | undefined, after: StepRecord, world: World): void {
    const { index } = after;
    const from = before?.state ?? 'PENDING';
    this.#that(after.attempt >= (before?.attempt ?? 0), `step ${index}: attempts only grow`);
    const mayFollowAnEnd = after.state.startsWith('COMPENSAT');
    this.#that(!hasEnded(from) || mayFollowAnEnd, `step ${index} went from ${from} to ${after.state}`);
    if (from === 'COMPENSATED' || from === 'COMPENSATION_FAILED') this.#that(false, `step ${index} went on`);
    if (after.state === 'COMPLETED') {
      this.#that(!this.#completed.has(index), `step ${index} completed twice`);
      this.#completed.add(index);
    }
    if (after.state === 'RUNNING') this.#started(index, world);
    if (after.state === 'COMPENSATING') this.#undone(before, index, world);
  }

  #started(index: number, world: World): void {
    const records = world.records;
    for (const parent of world.shape.parents[index] ?? []) {
      const state = records[parent]?.state ?? 'PENDING';
      this.#that(hasEnded(state), `step ${index} was started while step ${parent} was ${state}`);
    }
    const { concurrency } = this.#spec.steps[index]!;
    if (concurrency) {
      this.#that(world.holders(concurrency.key) <= concurrency.limit, `too many hold ${concurrency.key}`);
    }
  }

  #undone(before: StepRecord | undefined, index: number, world: World): void {
    const records = world.records;
    this.#that((before?.attempt ?? 0) > 0, `step ${index} was never started, and is undone`);
    this.#that(
      records.every(record => hasEnded(record?.state ?? 'PENDING')),
      'undone while work went on',
    );
    this.#undoing.push(index);
    for (const child of this.#after(index, world)) {
      const record = records[child];
      const mayHaveRun = (record?.attempt ?? 0) > 0 && this.#spec.steps[child]?.compensate !== undefined;
      const over = record?.state === 'COMPENSATED' || record?.state === 'COMPENSATION_FAILED';
      this.#that(!mayHaveRun || over, `step ${index} is undone before step ${child}, which came after it`);
    }
  }

  #after(index: number, world: World): Set<number> {
    const all = new Set<number>(world.shape.children[index]);
    for (const child of all) for (const next of world.shape.children[child] ?? []) all.add(next);
    return all;
  }

  nothingRunsTooLong(world: World): void {
    for (const record of world.records) {
      if (record?.state !== 'RUNNING') continue;
      const overMs = world.overdueMs(record);
      this.#that(
        overMs <= supervisorPeriodMs + takeoverMs,
        `step ${record.index} runs ${overMs} ms too long`,
      );
    }
  }

  cameToAnEnd(world: World): void {
    const { records, shape, cancel, settled } = world;
    const states = records.map(record => record?.state ?? 'PENDING');
    this.#that(settled !== null, `not settled: ${states.join(' ')} by ${String(world.nowMs)}`);
    this.#that(states.every(hasEnded) && !states.includes('COMPENSATING'), states.join(' '));
    this.#that(
      planState(shape, survey(shape, records), cancel) === settled,
      `${settled ?? ''}: ${states.join(' ')}`,
    );
    const wrong = states.some(state => state === 'FAILED' || state === 'TIMED_OUT' || state === 'CANCELLED');
    const undoes = this.#undoing.length > 0;
    if (this.#spec.onFailure !== 'compensate') this.#that(!undoes, 'undone though nobody wanted it');
    if (this.#spec.onFailure !== 'compensate' || !(wrong || undoes)) return;
    for (const [index, record] of records.entries()) {
      const mayHaveRun = (record?.attempt ?? 0) > 0 && this.#spec.steps[index]?.compensate !== undefined;
      const tried = record !== undefined && 'undos' in record && record.undos > 0;
      this.#that(!mayHaveRun || tried, `step ${index} may have run and is not undone`);
    }
  }

  #that(holds: boolean, message: string): void {
    if (holds) return;
    this.#t.fail(message);
    throw new Error(message);
  }
}

function moody(random: () => number): Behaviour {
  return (_, kind) => {
    const mood = random();
    const afterMs = Math.floor(random() * 900);
    const good = kind === 'work' ? 0.72 : 0.8;
    if (mood < good) return { afterMs, result: { kind: 'completed', output: { value: mood } } };
    if (mood < 0.88) return { afterMs, result: { kind: 'failed', type: 'RETRYABLE', error: 'busy' } };
    if (mood < 0.92) return { afterMs, result: { kind: 'failed', type: 'FATAL', error: 'no' } };
    return mood < 0.96 ? { afterMs: afterMs + 1_500, result: { kind: 'completed', output: null } } : null;
  };
}

/** One node is left alone at any time, so that somebody can always go on. */
function trouble(world: World, random: () => number): void {
  const chance = random();
  const node = world.nodes[Math.floor(random() * world.nodes.length)]!;
  const down = world.nodes.filter(({ alive, frozen }) => !alive || frozen).length;
  if (chance < 0.02) heal(world, node);
  else if (chance < 0.03 && down < 2 && node.alive && !node.frozen) world.kill(node);
  else if (chance < 0.04 && down < 2 && node.alive) node.frozen = true;
  else if (chance > 0.9985) world.cancel ??= { kind: 'asked', by: 'somebody', at: '' };
}

function heal(world: World, node: World['nodes'][number]): void {
  node.frozen = false;
  if (!node.alive) world.revive(node);
}

/** mulberry32. */
function randomOf(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function count(seen: Map<string, number>, what: string): void {
  seen.set(what, (seen.get(what) ?? 0) + 1);
}
