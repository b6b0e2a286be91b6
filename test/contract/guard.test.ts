import test, { type ExecutionContext } from 'ava';

import { DriverError, type Driver, type Launch } from '../../src/ports/driver.ts';
import type { Guard } from '../../src/ports/guard.ts';
import {
  clock,
  exitOf,
  launch,
  processDriverIn,
  systemdDriverIn,
  temporaryDirectory,
  unitOf,
} from '../drivers/helpers.ts';
import { FakeDriver, FakeGuard, fakeWorld } from '../support/fake-driver.ts';

/** Of one node; made anew it is what an agent finds that follows another. */
interface World {
  make(): { driver: Driver; guard: Guard };
}

/** After the deadline, of 10 ms each: the steps of the guard's clock, and the time that killing takes. */
const LATE_LOOKS = 50;
/** What a start takes on a machine that is not busy, and much more than that. */
const START_MS = 500;

const worlds: Record<string, (t: ExecutionContext) => World> = {
  fake: () => {
    const world = fakeWorld();
    return {
      make: () => ({ driver: new FakeDriver({ clock, world }), guard: new FakeGuard({ clock, world }) }),
    };
  },
  process: t => {
    const stateDir = temporaryDirectory(t);
    return {
      make: () => {
        const driver = processDriverIn(t, stateDir);
        return { driver, guard: driver.guard };
      },
    };
  },
  // There is no such world elsewhere: see test/drivers/helpers.ts.
  ...(process.env['HOP3_TEST_SYSTEMD']
    ? {
        systemd: t => {
          const stateDir = temporaryDirectory(t);
          return {
            make: () => {
              const driver = systemdDriverIn(t, stateDir);
              return { driver, guard: driver.guard };
            },
          };
        },
      }
    : {}),
};

function exclusive(parts: Partial<Launch> = {}): Launch {
  return launch({ command: 'sleep 300', guarded: true, token: '42', ...parts });
}

const endings: Record<string, (guard: Guard) => Promise<void>> = {
  'armed for a moment that has passed': guard => guard.arm(clock.now() - 1),
  'armed for an earlier time': guard => guard.arm(clock.now() + 300),
  disarmed: guard => guard.disarm(),
};

for (const [name, make] of Object.entries(worlds)) {
  for (const [when, act] of Object.entries(endings)) {
    test(`${name}: what is guarded is killed when it is ${when}, what is not lives on`, async t => {
      const { driver, guard } = make(t).make();
      await guard.arm(clock.now() + 600_000);
      const { unit } = await driver.start(exclusive());
      const other = await driver.start(launch({ command: 'sleep 300', unit: 'other' }));
      await act(guard);
      t.is((await exitOf(driver, unit)).signal, 'SIGKILL');
      t.is((await unitOf(driver, other.unit))?.exit, null);
      await driver.stop(other.unit, 0);
    });
  }

  test(`${name}: what is guarded is dead when the deadline has passed, what is not lives on`, async t => {
    const { driver, guard } = make(t).make();
    t.is(await guard.unable(), null);
    const { unit } = await inTime(START_MS, forMs => startedWithin(driver, guard, forMs));
    const other = await driver.start(launch({ command: 'sleep 300', unit: 'other' }));
    const exit = await exitOf(driver, unit);
    t.is(exit.signal, 'SIGKILL');
    t.false(exit.requested);
    t.is((await unitOf(driver, other.unit))?.exit, null);
    await driver.stop(other.unit, 0);
  });

  test(`${name}: arming it again in time moves the deadline for what runs`, async t => {
    const { driver, guard } = make(t).make();
    const unit = await inTime(START_MS, async forMs => {
      const started = await startedWithin(driver, guard, forMs);
      if (started === null) return null;
      const { unit, deadlineMs } = started;
      const laterMs = deadlineMs + 2 * forMs;
      await guard.arm(laterMs);
      const isInTime = clock.now() < deadlineMs;
      await clock.sleep(deadlineMs + forMs - clock.now());
      const found = await unitOf(driver, unit);
      if (isInTime && clock.now() < laterMs) {
        t.is(found?.exit, null);
        return unit;
      }
      await driver.stop(unit, 0);
      await driver.forget(unit);
      return null;
    });
    t.is((await exitOf(driver, unit)).signal, 'SIGKILL');
  });

  test(`${name}: nothing exclusive starts while it is not armed, or when its time is over`, async t => {
    const { driver, guard } = make(t).make();
    await t.throwsAsync(driver.start(exclusive()), {
      instanceOf: DriverError,
      message: /guard is not armed/,
    });
    await guard.arm(clock.now() - 1);
    await t.throwsAsync(driver.start(exclusive()), {
      instanceOf: DriverError,
      message: /guard is not armed/,
    });
    await guard.arm(clock.now() + 5000);
    await guard.disarm();
    t.is(guard.armedUntilMs(), null);
    await t.throwsAsync(driver.start(exclusive()), {
      instanceOf: DriverError,
      message: /guard is not armed/,
    });
    t.deepEqual(await driver.observe(), []);
  });

  test(`${name}: it kills though the agent that armed it is gone, and the next one knows until when`, async t => {
    const world = make(t);
    const first = world.make();
    const { unit, deadlineMs } = await inTime(START_MS, forMs =>
      startedWithin(first.driver, first.guard, forMs),
    );
    await first.driver.close();
    const second = world.make();
    t.true(Math.abs(second.guard.armedUntilMs()! - deadlineMs) <= 1);
    t.true((await unitOf(second.driver, unit))?.guarded);
    await clock.sleep(deadlineMs - clock.now());
    // Looks are counted, not time: while the machine stands still the guard can't kill either.
    let looks = 0;
    while (looks <= LATE_LOOKS && (await unitOf(second.driver, unit))?.exit === null) {
      looks++;
      await clock.sleep(10);
    }
    t.true(looks <= LATE_LOOKS, `alive at ${looks} looks after the deadline`);
  });
}

/** What is done with a deadline that far away; again with twice that when the machine was too slow for it. */
async function inTime<T>(forMs: number, attempt: (forMs: number) => Promise<T | null>): Promise<T> {
  return (await attempt(forMs)) ?? inTime(2 * forMs, attempt);
}

/** An exclusive process under a deadline; null when that had passed before it could be started. */
async function startedWithin(
  driver: Driver,
  guard: Guard,
  forMs: number,
): Promise<{ unit: string; deadlineMs: number } | null> {
  const deadlineMs = clock.now() + forMs;
  await guard.arm(deadlineMs);
  try {
    const { unit } = await driver.start(exclusive());
    return { unit, deadlineMs };
  } catch (error) {
    if (error instanceof DriverError && clock.now() >= deadlineMs) return null;
    throw error;
  }
}
