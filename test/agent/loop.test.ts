import test from 'ava';
import { Loop } from '../../src/agent/loop.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeLog } from '../support/fake-log.ts';

function looping(round: (signal: AbortSignal) => Promise<number | null>) {
  const clock = new FakeClock();
  const log = new FakeLog();
  const beganMs = clock.now();
  const rounds: number[] = [];
  const loop = new Loop({
    name: 'tried',
    clock,
    log,
    everyMs: 1000,
    round: signal => {
      rounds.push(clock.now() - beganMs);
      return round(signal);
    },
  });
  return { clock, log, loop, rounds };
}

test('it looks once at the start, and at least so often', async t => {
  const { clock, loop, rounds } = looping(async () => null);
  loop.start();
  loop.start();
  await clock.advance(2500);
  t.deepEqual(rounds, [0, 1000, 2000]);
  await loop.stop();
  t.is(clock.pending, 0);
});

test('it looks sooner when the round says so, and never later', async t => {
  const waits = [300, 5000, -1];
  const { clock, loop, rounds } = looping(async () => waits.shift() ?? null);
  loop.start();
  await clock.advance(1400);
  t.deepEqual(rounds, [0, 300, 1300, 1300]);
  await loop.stop();
});

test('however often it is woken, during a round or not, one more round follows', async t => {
  const { clock, loop, rounds } = looping(async () => {
    await clock.sleep(100);
    return null;
  });
  loop.start();
  await clock.advance(50);
  for (let times = 0; times < 5; times++) loop.wake();
  await clock.advance(850);
  t.deepEqual(rounds, [0, 100]);
  for (let times = 0; times < 5; times++) loop.wake();
  await clock.advance(150);
  t.deepEqual(rounds, [0, 100, 900]);
  await clock.advance(100);
  await loop.stop();
});

test('what can wait is gathered into one round, which begins as soon as the most hurried of it wants', async t => {
  const { clock, loop, rounds } = looping(async () => null);
  loop.start();
  await clock.advance(10);
  loop.wakeWithin(50);
  loop.wakeWithin(20);
  await clock.advance(5);
  loop.wakeWithin(50);
  await clock.advance(200);
  t.deepEqual(rounds, [0, 30]);
  await loop.stop();
});

test('a round that begins for another reason has looked at what could wait, too', async t => {
  const { clock, loop, rounds } = looping(async () => null);
  loop.start();
  await clock.advance(10);
  loop.wakeWithin(50);
  loop.wake();
  await clock.advance(200);
  t.deepEqual(rounds, [0, 10]);
  loop.wakeWithin(50);
  await loop.stop();
  loop.wakeWithin(50);
  t.is(clock.pending, 0);
});

test('what can wait and comes during a round gets a round of its own', async t => {
  const { clock, loop, rounds } = looping(async () => {
    await clock.sleep(100);
    return null;
  });
  loop.start();
  await clock.advance(50);
  loop.wakeWithin(20);
  await clock.advance(150);
  t.deepEqual(rounds, [0, 100]);
  await loop.stop();
});

test('a round that fails is told and tried again, later each time, and not in a storm when woken', async t => {
  const { clock, log, loop, rounds } = looping(async () => {
    loop.wake();
    throw new Error('no luck');
  });
  loop.start();
  await clock.advance(10_000);
  t.true(rounds.length >= 10 && rounds.length <= 25, `${rounds.length} rounds`);
  t.true(log.matching('no luck').length === rounds.length);
  t.like(log.lines[0], { level: 'warn', fields: { loop: 'tried', failures: 1, waitMs: 200 } });
  await loop.stop();
});

test('after a success failures count anew', async t => {
  let failing = true;
  const { clock, log, loop } = looping(async () => {
    if (failing) throw new Error('no luck');
    return null;
  });
  loop.start();
  await clock.advance(3000);
  failing = false;
  await clock.advance(10_000);
  failing = true;
  const { length } = log.lines;
  await clock.advance(1000);
  t.is(log.lines[length]?.fields['failures'], 1);
  await loop.stop();
});

test('stopping aborts the round under way, waits for its end, and is not logged as a failure', async t => {
  let ended = false;
  const { clock, log, loop } = looping(async signal => {
    await clock.sleep(60_000, signal);
    ended = true;
    signal.throwIfAborted();
    return null;
  });
  loop.start();
  await clock.advance(10);
  await loop.stop();
  t.true(ended);
  t.deepEqual(log.lines, []);
  t.is(clock.pending, 0);
});

test('what was never started can be stopped', async t => {
  const { loop, rounds } = looping(async () => null);
  await loop.stop();
  t.deepEqual(rounds, []);
});

test('it says how long the round under way has taken, also one that fails', async t => {
  const { clock, loop } = looping(async () => {
    await clock.sleep(400);
    throw new Error('no luck');
  });
  loop.start();
  await clock.advance(300);
  t.is(loop.busyMs(), 300);
  await clock.advance(400);
  t.is(loop.busyMs(), 0);
  const stopped = loop.stop();
  await clock.advance(1000);
  await stopped;
});
