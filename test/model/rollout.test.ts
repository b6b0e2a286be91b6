import test from 'ava';
import type { AppRecord } from '../../src/model/records.ts';
import { heldHostnames, releaseState, settledState, specOfRelease } from '../../src/model/rollout.ts';
import { appRecord } from '../agent/helpers.ts';
import { appSpec } from '../support/nouns.ts';

const old = appRecord(appSpec({ hostnames: ['old.test', 'both.test'] }), { source: 'sha256:s' });
const next = appSpec({ hostnames: ['both.test', 'new.test'] });
const rolling = (parts: { final?: true } = {}): AppRecord => ({
  ...appRecord(next, { release: 2 }),
  rollout: { before: releaseState(old), stage: 'replacing', ...parts },
});

test('what makes a release run can be put into a record again', t => {
  t.deepEqual({ ...rolling(), ...releaseState(old) }.spec, old.spec);
  t.deepEqual(Object.keys(releaseState(old)).sort(), ['artifact', 'release', 'restarts', 'source', 'spec']);
});

test('a copy is checked by the spec of its own release', t => {
  t.is(specOfRelease(rolling(), 1), old.spec);
  t.is(specOfRelease(rolling(), 2), next);
  t.is(specOfRelease(rolling(), 7), next, 'of one that is long gone nothing is known');
  t.is(specOfRelease(old, 7), old.spec);
});

test('the names of both releases are held until it is settled', t => {
  t.deepEqual(heldHostnames(rolling()), ['both.test', 'new.test', 'old.test']);
  t.deepEqual(heldHostnames(rolling({ final: true })), ['both.test', 'new.test']);
  t.deepEqual(heldHostnames(old), ['old.test', 'both.test']);
});

test('gone back to is what all instances ran last, not what is just being tried', t => {
  t.is(settledState(rolling()).release, 1);
  t.is(settledState(rolling({ final: true })).release, 2);
  t.is(settledState(old).release, 1);
});
