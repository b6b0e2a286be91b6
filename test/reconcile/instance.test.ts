import test from 'ava';
import fc from 'fast-check';
import type { Action, DesiredInstance, StartHistory, Unit } from '../../src/model/reconciliation.ts';
import { afterExit, afterReady } from '../../src/reconcile/histories.ts';
import { reconcileInstance } from '../../src/reconcile/instance.ts';
import { reconcile } from '../../src/reconcile/reconcile.ts';
import { appSpec, desiredInstance, processSpec, unit, unitExit } from '../support/nouns.ts';

const drainMs = 1_000;
const stepMs = 250;

/** A node that does as it is told; each start takes `startMs` to become ready. */
class SmallNode {
  nowMs = 0;
  units: Unit[] = [];
  desired: DesiredInstance;
  private history: StartHistory | undefined;
  private started = 0;
  private readonly startMs: number;
  lastActions: Action[] = [];

  constructor(desired: DesiredInstance, startMs: number) {
    this.desired = desired;
    this.startMs = startMs;
  }

  round(): void {
    const result = reconcile({
      desired: [this.desired],
      unwanted: [],
      units: this.units,
      histories: this.history ? [this.history] : [],
      nowMs: this.nowMs,
      drainMs,
    });
    this.history = result.histories[0];
    this.lastActions = result.actions;
    for (const action of result.actions) this.perform(action);
  }

  /** Time passes: starts become ready, stops are done. */
  pass(): void {
    this.nowMs += stepMs;
    for (const each of this.units) {
      if (each.phase.kind === 'starting' && this.nowMs - each.startedMs >= this.startMs) {
        this.history = afterReady(this.history, each, this.nowMs);
        each.phase = { kind: 'ready', sinceMs: this.nowMs };
      } else if (each.phase.kind === 'stopping' && this.nowMs - each.phase.sinceMs >= 500) {
        this.end(each, true);
      }
    }
  }

  crash(index: number): void {
    const alive = this.alive();
    const victim = alive[index % Math.max(1, alive.length)];
    if (victim) this.end(victim, false);
  }

  alive(): Unit[] {
    return this.units.filter(({ phase }) => phase.kind !== 'exited');
  }

  serving(): Unit[] {
    return this.units.filter(({ phase }) => phase.kind === 'ready');
  }

  private end(each: Unit, requested: boolean): void {
    const exit = unitExit({ requested });
    this.history = afterExit(this.history, each, exit, this.nowMs);
    each.phase = { kind: 'exited', sinceMs: this.nowMs, exit };
  }

  private perform(action: Action): void {
    const target = 'unit' in action ? this.units.find(each => each.unit === action.unit) : undefined;
    if (action.kind === 'start') {
      this.started += 1;
      this.units.push(
        unit({
          unit: `u${String(this.started).padStart(4, '0')}`,
          version: action.version,
          release: Number(action.version),
          phase: { kind: 'starting' },
          startedMs: this.nowMs,
        }),
      );
    } else if (action.kind === 'forget') {
      this.units = this.units.filter(each => each !== target);
    } else if (target && action.kind === 'drain') {
      target.phase = { kind: 'draining', sinceMs: this.nowMs };
    } else if (target && action.kind === 'stop') {
      target.phase = { kind: 'stopping', sinceMs: this.nowMs };
    }
  }
}

type Happening = { kind: 'nothing' } | { kind: 'deploy' } | { kind: 'crash'; index: number };
const nothing = fc.constant<Happening>({ kind: 'nothing' });
const deploy = fc.constant<Happening>({ kind: 'deploy' });
const crash = fc.nat({ max: 3 }).map((index): Happening => ({ kind: 'crash', index }));
const startMs = fc.integer({ min: 0, max: 3_000 });

function happen(node: SmallNode, happening: Happening): void {
  if (happening.kind === 'crash') node.crash(happening.index);
  if (happening.kind === 'deploy') {
    const release = node.desired.release + 1;
    node.desired = { ...node.desired, release, version: String(release) };
  }
}

function play(node: SmallNode, happenings: Happening[], check: () => void): void {
  for (const happening of happenings) {
    happen(node, happening);
    check();
    node.round();
    check();
    node.pass();
    check();
  }
}

function settle(node: SmallNode): void {
  for (let count = 0; count < 4_000; count++) {
    node.round();
    node.pass();
  }
}

test('an instance that must be alone never runs twice, whatever happens', t => {
  const alone = desiredInstance({ process: processSpec({ exclusive: true }) });
  fc.assert(
    fc.property(
      startMs,
      fc.array(fc.oneof(nothing, nothing, deploy, crash), { maxLength: 60 }),
      (ms, all) => {
        const node = new SmallNode(alone, ms);
        play(node, all, () => t.true(node.alive().length <= 1));
      },
    ),
  );
});

test('deploying never leaves an instance that serves without a ready copy', t => {
  fc.assert(
    fc.property(
      startMs,
      fc.array(fc.oneof(nothing, nothing, nothing, deploy), { maxLength: 60 }),
      (ms, all) => {
        const node = new SmallNode(desiredInstance(), ms);
        settle(node);
        play(node, all, () => t.true(node.serving().length >= 1));
      },
    ),
    { numRuns: 25 },
  );
});

test('whatever happened, in the end one copy of the wanted version runs and there is nothing left to do', t => {
  const any = fc.array(fc.oneof(nothing, deploy, crash), { maxLength: 40 });
  const spec = fc.constantFrom(
    appSpec(),
    appSpec({
      deploy: { strategy: 'stop-deploy', maxSurge: 0, maxUnavailable: 1, healthyDeadlineSeconds: 9 },
    }),
  );
  fc.assert(
    fc.property(spec, startMs, any, (app, ms, all) => {
      // Given up is an end too; here nothing shall be given up.
      const patient = { ...app, restart: { policy: 'always' as const, max: 1_000_000 } };
      const node = new SmallNode(desiredInstance({ spec: patient }), ms);
      play(node, all, () => undefined);
      settle(node);
      t.deepEqual(
        node.units.map(({ version, phase }) => [version, phase.kind]),
        [[node.desired.version, 'ready']],
      );
      t.deepEqual(node.lastActions, []);
    }),
    { numRuns: 25 },
  );
});

test('a start that was given up is counted once, and its backoff is waited for', t => {
  const slow = unit({ phase: { kind: 'starting' }, startedMs: 0 });
  const history = {
    instance: slow.instance,
    version: '1',
    failures: 2,
    lastFailureMs: 0,
    lastTrouble: 'x',
    everReady: true,
  };
  const first = reconcileInstance(desiredInstance(), [slow], history, { nowMs: 30_000, drainMs });
  t.is(first.history.failures, 3);
  t.deepEqual(
    first.actions.map(({ kind }) => kind),
    ['stop'],
  );
  t.deepEqual(first.dueMs, [32_000]);
  const stopping: Unit = { ...slow, phase: { kind: 'stopping', sinceMs: 30_000 } };
  const second = reconcileInstance(desiredInstance(), [stopping], first.history, { nowMs: 30_100, drainMs });
  t.is(second.history.failures, 3);
  t.is(second.status.state, 'stopping');
});
