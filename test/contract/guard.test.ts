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
  /** The guard may be late by this: the steps of its clock, and the time that killing takes on a busy machine. */
  lateMs: number;
  /** What a start may take on a busy machine. */
  startMs: number;
}

const worlds: Record<string, (t: ExecutionContext) => World> = {
  fake: () => {
    const world = fakeWorld();
    return {
      make: () => ({ driver: new FakeDriver({ clock, world }), guard: new FakeGuard({ clock, world }) }),
      lateMs: 500,
      startMs: 0,
    };
  },
  process: t => {
    const stateDir = temporaryDirectory(t);
    return {
      make: () => {
        const driver = processDriverIn(t, stateDir);
        return { driver, guard: driver.guard };
      },
      lateMs: 500,
      startMs: 1500,
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
            lateMs: 500,
            startMs: 1500,
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
    const world = make(t);
    const { driver, guard } = world.make();
    t.is(await guard.unable(), null);
    const deadlineMs = clock.now() + world.startMs + 700;
    await guard.arm(deadlineMs);
    const { unit } = await driver.start(exclusive());
    const other = await driver.start(launch({ command: 'sleep 300', unit: 'other' }));
    const exit = await exitOf(driver, unit);
    t.is(exit.signal, 'SIGKILL');
    t.false(exit.requested);
    t.is((await unitOf(driver, other.unit))?.exit, null);
    await driver.stop(other.unit, 0);
  });

  test(`${name}: arming it again in time moves the deadline for what runs`, async t => {
    const world = make(t);
    const { driver, guard } = world.make();
    await guard.arm(clock.now() + world.startMs + 500);
    const { unit } = await driver.start(exclusive());
    const firstMs = guard.armedUntilMs()!;
    await guard.arm(firstMs + 1000);
    await clock.sleep(firstMs + 300 - clock.now());
    t.is((await unitOf(driver, unit))?.exit, null);
    t.is((await exitOf(driver, unit)).signal, 'SIGKILL');
    t.true(clock.now() > firstMs + 300);
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
    const deadlineMs = clock.now() + world.startMs + 800;
    await first.guard.arm(deadlineMs);
    const { unit } = await first.driver.start(exclusive());
    await first.driver.close();
    const second = world.make();
    t.true(Math.abs(second.guard.armedUntilMs()! - deadlineMs) <= 1);
    t.true((await unitOf(second.driver, unit))?.guarded);
    await exitOf(second.driver, unit);
    t.true(clock.now() <= deadlineMs + world.lateMs);
  });
}
