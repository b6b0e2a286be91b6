import test from 'ava';
import { sortCopies } from '../../src/reconcile/copies.ts';
import { leavingStatus, statusOf } from '../../src/reconcile/status.ts';
import { desiredInstance, unit } from '../support/nouns.ts';

const now = { kind: 'now' as const, reason: 'because' };
const desired = desiredInstance();
const nothing = sortCopies(desired, [], 0);

test('only what is running is ready', t => {
  const status = statusOf(desired, sortCopies(desired, [unit()], 0), now, []);
  t.deepEqual(status, {
    instance: 'blog/web/0',
    subject: 'instance/blog/web/0',
    state: 'running',
    release: 1,
    version: '1',
    endpoint: { host: '127.0.0.1', port: 4001 },
    ready: true,
    pid: 4711,
    trouble: null,
  });
});

test('a start that was just decided is said to be starting, and has no endpoint yet', t => {
  const start = { kind: 'start' as const, instance: 'blog/web/0', version: '1', reason: 'because' };
  const status = statusOf(desired, nothing, now, [start]);
  t.is(status.state, 'starting');
  t.is(status.endpoint, null);
});

test('what starts and answers badly says so', t => {
  const refusal = 'HTTP 404 from 127.0.0.1:4001/up in 3 ms';
  const status = statusOf(
    desired,
    sortCopies(desired, [unit({ phase: { kind: 'starting', refusal } })], 0),
    now,
    [],
  );
  t.is(status.state, 'starting');
  t.is(status.trouble, `it answers, but not as its health check wants: ${refusal}`);
});

test('given up is said before anything it waits for', t => {
  const waiting = { ...desired, mayStart: false, waitingFor: 'auth' };
  const status = statusOf(waiting, nothing, { kind: 'never', trouble: 'boom' }, []);
  t.is(status.state, 'failed');
  t.is(status.trouble, 'boom');
  t.is(statusOf(waiting, nothing, now, []).trouble, 'auth');
});

test('a copy that was just taken out of traffic is not ready any more, but still where it was', t => {
  const status = statusOf(desired, sortCopies(desired, [unit()], 0), now, [
    { kind: 'drain', unit: 'blog-web-0-a', reason: 'because' },
  ]);
  t.is(status.state, 'stopping');
  t.false(status.ready);
  t.is(status.endpoint?.port, 4001);
});

test('what is leaving is never ready', t => {
  const status = leavingStatus(desired, unit(), 'scaled down');
  t.is(status.state, 'stopping');
  t.false(status.ready);
  t.is(status.trouble, 'scaled down');
});
