import { readFileSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';

import { bootClock, systemClock } from '../../src/platform/clock.ts';
import { until } from '../support/until.ts';

test('now is the kernel’s boot time to within its 10 ms steps', async t => {
  const clock = systemClock();
  /** Whether it is also not behind the step that the kernel's clock shows. */
  const isFine = () => {
    const before = Number.parseFloat(readFileSync('/proc/uptime', 'utf8')) * 1000;
    const now = clock.now();
    const after = Number.parseFloat(readFileSync('/proc/uptime', 'utf8')) * 1000;
    t.true(now <= after + 11, `${before} ${now} ${after}`);
    return now >= before - 0.001;
  };
  // Once it has looked just behind a step, and was not kept waiting meanwhile; on a busy machine that may take many.
  await until('it has settled for two steps', async () => {
    for (const untilMs = clock.now() + 25; clock.now() < untilMs;) {
      if (!isFine()) return false;
      await new Promise(setImmediate);
    }
    return true;
  });
});

test('now never goes back', t => {
  const clock = systemClock();
  let last = clock.now();
  for (let round = 0; round < 20_000; round++) {
    const now = clock.now();
    if (now < last) t.fail(`${now} after ${last}`);
    last = now;
  }
  t.pass();
});

test('nobody is called back before the time has passed', async t => {
  const clock = systemClock();
  const early: number[] = [];
  for (let count = 0; count < 300; count++) {
    const sinceMs = clock.now();
    await clock.sleep(1.9);
    const waitedMs = clock.now() - sinceMs;
    if (waitedMs < 1.9 - 1e-6) early.push(waitedMs);
  }
  t.deepEqual(early, []);
});

/** A machine: real time passes awake or asleep; the fine clock counts waking only, the coarse one all, cut to 10 ms. */
function machine(startMs: number): {
  awake(ms: number): void;
  asleep(ms: number): void;
  trueMs(): number;
  now(): number;
} {
  let trueMs = startMs;
  let fineMs = startMs / 3;
  return {
    awake(ms) {
      trueMs += ms;
      fineMs += ms;
    },
    asleep(ms) {
      trueMs += ms;
    },
    trueMs: () => trueMs,
    now: bootClock(
      () => Math.floor(trueMs / 10) * 10,
      () => fineMs,
    ),
  };
}

test('whatever the machine sleeps, now is at most 10 ms behind, never ahead, and never goes back', t => {
  const step = fc.record({ asleep: fc.boolean(), ms: fc.double({ min: 0, max: 5000, noNaN: true }) });
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1e9, noNaN: true }), fc.array(step), (startMs, steps) => {
      const computer = machine(startMs);
      let last = computer.now();
      for (const { asleep, ms } of steps) {
        if (asleep) computer.asleep(ms);
        computer.awake(asleep ? 1 : ms);
        const now = computer.now();
        t.true(now >= last);
        t.true(now <= computer.trueMs() + 1e-3, `${now} ahead of ${computer.trueMs()}`);
        t.true(now > computer.trueMs() - 10 - 1e-3, `${now} behind ${computer.trueMs()}`);
        last = now;
      }
    }),
  );
});

test('a suspension is counted after a millisecond of waking, and until then now goes on from before it', t => {
  const computer = machine(1000);
  const before = computer.now();
  computer.asleep(60_000);
  computer.awake(0.5);
  t.is(computer.now(), before + 0.5);
  computer.awake(0.5);
  t.true(computer.now() > before + 60_001 - 10, `${computer.now()}`);
});

test('between two steps of the kernel’s clock, now moves finely', t => {
  const computer = machine(1000);
  const seen = [1, 2, 3, 4].map(() => {
    computer.awake(1.5);
    return computer.now();
  });
  t.deepEqual(
    seen.map(now => now - seen[0]!),
    [0, 1.5, 3, 4.5],
  );
});

test('a sleep ends by time, or at once by a signal, and never rejects', async t => {
  const clock = systemClock();
  const startedMs = clock.now();
  await clock.sleep(50);
  // Timers are of whole milliseconds and of another clock.
  t.true(clock.now() - startedMs >= 48);
  await clock.sleep(0);
  await clock.sleep(3600_000, AbortSignal.abort());
  await clock.sleep(3600_000, AbortSignal.timeout(10));
  await clock.sleep(2 ** 40, AbortSignal.timeout(10));
  t.true(clock.now() - startedMs < 3600_000);
});

test('a sleep that ended listens to its signal no more', async t => {
  const { signal } = new AbortController();
  let listening = 0;
  const counted = new Proxy(signal, {
    get(target, name) {
      if (name === 'addEventListener') listening++;
      if (name === 'removeEventListener') listening--;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  await systemClock().sleep(1, counted);
  t.is(listening, 0);
});

test('a callback comes once, unless it was called off', async t => {
  const clock = systemClock();
  const called: string[] = [];
  clock.after(5, () => called.push('kept'));
  const cancel = clock.after(1, () => called.push('called off'));
  const far = clock.after(2 ** 33, () => called.push('far'));
  cancel();
  await until('the first was called', () => called.length > 0);
  await clock.sleep(20);
  t.deepEqual(called, ['kept']);
  far();
});

test('the timestamp is RFC 3339 in UTC', t => {
  t.regex(systemClock().timestamp(), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
});
