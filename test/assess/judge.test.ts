import test from 'ava';
import fc from 'fast-check';
import type { NodePromise, Outcome, RunningBody } from '../../src/model/node-promise.ts';
import { judge, type JudgeInput, type ProbeOutcome } from '../../src/assess/judge.ts';
import { assessment, runningPromise } from '../support/nouns.ts';

const sure = { sure: true, reason: '' };
const unsure = { sure: false, reason: 'the store is silent' };
const good: ProbeOutcome = { verdict: 'good', evidence: 'HTTP 200' };
const refused: ProbeOutcome = { verdict: 'refused', evidence: 'HTTP 500' };
const silent: ProbeOutcome = { verdict: 'unreachable', evidence: 'no answer' };
const lease: NodePromise = { ...runningPromise(), verify: { method: 'lease' } };

interface Row {
  promise?: NodePromise;
  probe?: ProbeOutcome | null;
  previous?: Outcome;
  footing?: JudgeInput['footing'];
  consecutiveBad?: number;
  /** `outcome: evidence`; null = nothing to write. */
  says: string | null;
}

const rows: Record<string, Row> = {
  'a good first check is kept': { probe: good, says: 'kept: HTTP 200' },
  'the same again is not written again': { probe: good, previous: 'kept', says: null },
  'one bad check breaks nothing': { probe: silent, previous: 'kept', consecutiveBad: 1, says: null },
  'two bad checks in a row break it': {
    probe: silent,
    previous: 'kept',
    consecutiveBad: 2,
    says: 'broken: no answer (2 bad checks in a row)',
  },
  'a bad answer is as bad as none': {
    probe: refused,
    consecutiveBad: 2,
    says: 'broken: HTTP 500 (2 bad checks in a row)',
  },
  'broken stays broken without a word': { probe: silent, previous: 'broken', consecutiveBad: 9, says: null },
  'a good check after a break is a repair': { probe: good, previous: 'broken', says: 'repaired: HTTP 200' },
  'the next good one is kept': { probe: good, previous: 'repaired', says: 'kept: HTTP 200' },
  'who doubts itself breaks nothing': {
    probe: silent,
    footing: unsure,
    consecutiveBad: 9,
    says: 'indeterminate: the store is silent',
  },
  'who doubts itself does not vouch for a lease either': {
    promise: lease,
    probe: null,
    footing: unsure,
    says: 'indeterminate: the store is silent',
  },
  'a good answer is good whoever doubts': { probe: good, footing: unsure, says: 'kept: HTTP 200' },
  'a lease that lives is kept': { promise: lease, probe: null, says: 'kept: its lease lives' },
  'what could be asked and was not is undetermined': { probe: null, says: 'indeterminate: not asked' },
  'a copy that starts has nothing to be asked': {
    promise: runningPromise({ state: 'starting', ready: false }),
    probe: null,
    says: 'indeterminate: starting',
  },
  'a copy that was kept and now stops is undetermined': {
    promise: runningPromise({ state: 'stopping', ready: false }),
    probe: null,
    previous: 'kept',
    says: 'indeterminate: stopping',
  },
  'a restart after a break is no repair yet': {
    promise: runningPromise({ state: 'starting', ready: false }),
    probe: null,
    previous: 'broken',
    says: null,
  },
  'given up is broken by its own word': {
    promise: runningPromise({ state: 'failed', ready: false, trouble: 'no such module' }),
    probe: null,
    says: 'broken: by its own word failed: no such module',
  },
  'so is backing off': {
    promise: runningPromise({ state: 'backoff', ready: false }),
    probe: null,
    says: 'broken: by its own word backoff',
  },
};

for (const [title, row] of Object.entries(rows)) {
  test(title, t => {
    const result = judge(input(row));
    t.is(result && `${result.outcome}: ${result.evidence}`, row.says);
  });
}

const lapsedRows: Record<string, Row & { silentMs?: number; flag: 'answering' | 'unreachable' | null }> = {
  'what expired and answers is said to answer': {
    probe: good,
    previous: 'kept',
    says: 'kept: the session of node-1 is gone, and it still answers: HTTP 200',
    flag: 'answering',
  },
  'who doubts itself may say that it answers': {
    probe: good,
    footing: unsure,
    says: 'kept: the session of node-1 is gone, and it still answers: HTTP 200',
    flag: 'answering',
  },
  'who doubts itself does not say that it is gone': {
    probe: silent,
    footing: unsure,
    silentMs: 9000,
    consecutiveBad: 9,
    says: 'indeterminate: the store is silent',
    flag: null,
  },
  'one lost packet says nothing while the agent is heard': {
    probe: silent,
    consecutiveBad: 1,
    says: null,
    flag: null,
  },
  'two of them do': {
    probe: silent,
    consecutiveBad: 2,
    says: 'broken: the session of node-1 is gone, and no answer',
    flag: 'unreachable',
  },
  'of a silent agent one is enough': {
    probe: silent,
    silentMs: 2500,
    consecutiveBad: 1,
    says: 'broken: the session of node-1 is gone, and no answer',
    flag: 'unreachable',
  },
  'a bad answer is neither': {
    probe: refused,
    consecutiveBad: 2,
    says: 'broken: the session of node-1 is gone, and HTTP 500',
    flag: null,
  },
  'what nobody can ask goes with its session': {
    promise: lease,
    probe: null,
    says: 'broken: the session of node-1 is gone, and it has nothing to be asked',
    flag: 'unreachable',
  },
};

for (const [title, row] of Object.entries(lapsedRows)) {
  test(`rule 12: ${title}`, t => {
    const result = judge({ ...input(row), lapsed: true, silentMs: row.silentMs ?? null });
    t.is(result && `${result.outcome}: ${result.evidence}`, row.says);
    t.is(result?.unreachable, row.flag === 'unreachable' ? true : undefined);
    t.deepEqual(result?.answering, row.flag === 'answering' ? (row.promise ?? runningPromise()) : undefined);
  });
}

test('rule 12: that it answers is said once, and again when its promise was made anew', t => {
  const first = judge({ ...input({ probe: good, previous: 'kept', says: '' }), lapsed: true })!;
  t.is(judge({ ...input({ probe: good, says: '' }), previous: first, lapsed: true }), null);
  const back = judge({ ...input({ probe: good, says: '' }), previous: first });
  t.is(back?.outcome, 'kept');
  t.is(back?.answering, undefined);
});

test('what is broken is a process: the next one is judged anew, be it as broken, and no process is not another', t => {
  const broken = (parts: Partial<RunningBody>) =>
    judge(
      input({
        promise: runningPromise(parts),
        probe: refused,
        previous: 'broken',
        consecutiveBad: 2,
        says: '',
      }),
    );
  t.is(broken({ pid: 4711 }), null);
  t.is(broken({ pid: 4712 })?.pid, 4712);
  t.is(broken({ pid: 4712, state: 'unhealthy', ready: false })?.pid, 4712);
  t.is(broken({ pid: null, state: 'backoff', ready: false }), null);
});

test('a judgement carries the running trust of its assessor', t => {
  const broken = judge(input({ probe: silent, previous: 'kept', consecutiveBad: 2, says: '' }));
  t.like(broken, {
    assessor: 'node-2',
    promiser: 'node-1',
    promise: 'running:blog/web/0',
    at: 'now',
    trust: 0.7,
  });
});

test('never broken with less than two bad checks, or without a footing', t => {
  const probe = fc.constantFrom(good, refused, silent);
  const previous = fc.constantFrom<Outcome>('kept', 'repaired', 'indeterminate');
  fc.assert(
    fc.property(probe, previous, fc.nat({ max: 4 }), fc.boolean(), (probed, before, bad, isSure) => {
      const consecutiveBad = probed.verdict === 'good' ? 0 : bad;
      const footing = isSure ? sure : unsure;
      const result = judge(input({ probe: probed, previous: before, consecutiveBad, footing, says: '' }));
      if (result?.outcome === 'broken') t.true(isSure && consecutiveBad >= 2);
      else t.not(result?.evidence, '');
    }),
  );
});

function input(row: Row): JudgeInput {
  return {
    assessor: 'node-2',
    promise: row.promise ?? runningPromise(),
    probe: row.probe ?? null,
    previous:
      row.previous === undefined
        ? undefined
        : assessment('node-2', row.previous, row.previous === 'broken' ? { pid: 4711 } : {}),
    footing: row.footing ?? sure,
    consecutiveBad: row.consecutiveBad ?? 0,
    at: 'now',
  };
}
