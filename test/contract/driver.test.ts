import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';

import { staticDriver } from '../../src/drivers/static-driver.ts';
import { DriverError, type Driver, type Launch } from '../../src/ports/driver.ts';
import {
  clock,
  collect,
  exitOf,
  launch,
  linesOf,
  processDriverIn,
  systemdDriverIn,
  temporaryDirectory,
  textsOf,
  unitOf,
} from '../drivers/helpers.ts';
import { FakeDriver, fakeWorld, type Behaviour } from '../support/fake-driver.ts';
import { FakeLog } from '../support/fake-log.ts';
import { freePort } from '../support/free-port.ts';
import { processSpec } from '../support/nouns.ts';
import { until } from '../support/until.ts';

interface World {
  /** Knows what the drivers before it started. */
  driver(): Promise<Driver>;
  /** A copy that runs until it is stopped. */
  running(parts?: Partial<Launch>): Promise<Launch>;
  /** Makes a line of output appear for the running copy, and gives its text. */
  provokeOutput(launch: Launch): Promise<string>;
}

type Making = (t: ExecutionContext) => World;

/** What the fake does for the shell commands used here. */
const BEHAVIOURS: Record<string, Behaviour> = {
  'echo one; echo two >&2; exit 3': {
    endsAfterMs: 20,
    code: 3,
    prints: [
      { stream: 'stdout', text: 'one' },
      { stream: 'stderr', text: 'two' },
    ],
  },
  "trap '' TERM; echo deaf; while :; do sleep 0.05; done": {
    ignoresTerm: true,
    prints: [{ stream: 'stdout', text: 'deaf' }],
  },
  'echo hello; sleep 300': { prints: [{ stream: 'stdout', text: 'hello' }] },
};

const fake: Making = () => {
  const world = fakeWorld();
  return {
    driver: async () =>
      new FakeDriver({ clock, world, behaviour: ({ process }) => BEHAVIOURS[process.command] ?? {} }),
    running: async parts => launch({ command: 'echo hello; sleep 300', ...parts }),
    provokeOutput: async () => 'hello',
  };
};

const processes: Making = t => {
  const stateDir = temporaryDirectory(t);
  return {
    driver: async () => processDriverIn(t, stateDir),
    running: async parts => launch({ command: 'echo hello; sleep 300', ...parts }),
    provokeOutput: async () => 'hello',
  };
};

/** Everything under the guard, armed for longer than any test. */
const guarded: Making = t => {
  const stateDir = temporaryDirectory(t);
  return {
    async driver() {
      const driver = processDriverIn(t, stateDir);
      await driver.guard.arm(clock.now() + 600_000);
      return { ...driver, start: launch => driver.start({ ...launch, guarded: true }) };
    },
    running: async parts => launch({ command: 'echo hello; sleep 300', ...parts }),
    provokeOutput: async () => 'hello',
  };
};

const statics: Making = t => {
  const stateDir = temporaryDirectory(t);
  const directory = join(stateDir, 'site');
  mkdirSync(directory);
  writeFileSync(join(directory, 'index.html'), 'hello');
  return {
    async driver() {
      const driver = await staticDriver({ stateDir, clock, log: new FakeLog() });
      t.teardown(() => driver.close());
      return driver;
    },
    running: async parts =>
      launch({
        process: processSpec({ kind: 'static', command: '', directory: '.' }),
        directory,
        endpoint: { host: '127.0.0.1', port: await freePort() },
        ...parts,
      }),
    async provokeOutput({ endpoint }) {
      await (await fetch(`http://127.0.0.1:${endpoint!.port}/`)).text();
      return 'GET / 200';
    },
  };
};

const systemd: Making = t => {
  const stateDir = temporaryDirectory(t);
  return {
    driver: async () => systemdDriverIn(t, stateDir),
    running: async parts => launch({ command: 'echo hello; sleep 300', ...parts }),
    provokeOutput: async () => 'hello',
  };
};

const guardedSystemd: Making = t => {
  const stateDir = temporaryDirectory(t);
  return {
    async driver() {
      const driver = systemdDriverIn(t, stateDir);
      await driver.guard.arm(clock.now() + 600_000);
      return { ...driver, start: launch => driver.start({ ...launch, guarded: true }) };
    },
    running: async parts => launch({ command: 'echo hello; sleep 300', ...parts }),
    provokeOutput: async () => 'hello',
  };
};

const commandWorlds: Record<string, Making> = {
  fake,
  process: processes,
  'guarded process': guarded,
  // There are no such worlds elsewhere: see test/drivers/helpers.ts.
  ...(process.env['HOP3_TEST_SYSTEMD'] ? { systemd, 'guarded systemd': guardedSystemd } : {}),
};
const worlds: Record<string, Making> = { ...commandWorlds, static: statics };

for (const [name, make] of Object.entries(worlds)) {
  test(`${name}: a started unit is observed with everything it was launched with`, async t => {
    const world = make(t);
    const driver = await world.driver();
    const wanted = await world.running({ release: 7, version: '7.1' });
    const started = await driver.start(wanted);
    const { unit, instance, endpoint } = wanted;
    t.like(started, { unit, instance, release: 7, version: '7.1', endpoint, exit: null });
    t.deepEqual(await driver.observe(), [started]);
  });

  test(`${name}: the same unit is not started twice`, async t => {
    const world = make(t);
    const driver = await world.driver();
    const wanted = await world.running();
    await driver.start(wanted);
    const error = await t.throwsAsync(driver.start(wanted), { instanceOf: DriverError });
    t.false(error.retryable);
    t.is((await driver.observe()).length, 1);
  });

  test(`${name}: a stop is an exit that was asked for, and wakes who listens`, async t => {
    const world = make(t);
    const driver = await world.driver();
    const { unit } = await driver.start(await world.running());
    let woken = 0;
    const unlisten = driver.onExit(() => woken++);
    await driver.stop(unit, 5);
    const found = await unitOf(driver, unit);
    t.true(found?.exit?.requested);
    t.is(woken, 1);
    unlisten();
    const { unit: other } = await driver.start(await world.running({ unit: 'blog-web-0-b' }));
    await driver.stop(other, 5);
    t.is(woken, 1);
  });

  test(`${name}: stopping twice at once, or what has ended, or what is not known, is no error`, async t => {
    const world = make(t);
    const driver = await world.driver();
    const { unit } = await driver.start(await world.running());
    await t.notThrowsAsync(Promise.all([driver.stop(unit, 5), driver.stop(unit, 5)]));
    await t.notThrowsAsync(driver.stop(unit, 5));
    await t.notThrowsAsync(driver.stop('nobody', 5));
  });

  test(`${name}: a driver made anew knows a running unit, and can stop it`, async t => {
    const world = make(t);
    const before = await world.driver();
    const started = await before.start(await world.running());
    await before.close();
    const driver = await world.driver();
    t.deepEqual(await driver.observe(), [started]);
    await driver.stop(started.unit, 5);
    t.true((await unitOf(driver, started.unit))?.exit?.requested);
  });

  test(`${name}: an exit is remembered by the next driver, until it is forgotten`, async t => {
    const world = make(t);
    const before = await world.driver();
    const { unit } = await before.start(await world.running());
    await before.stop(unit, 5);
    const ended = await unitOf(before, unit);
    await before.close();
    const driver = await world.driver();
    t.deepEqual(await unitOf(driver, unit), ended);
    await driver.forget(unit);
    t.deepEqual(await driver.observe(), []);
    await driver.close();
    t.deepEqual(await (await world.driver()).observe(), []);
  });

  test(`${name}: what still runs is not forgotten; what is not known, is already`, async t => {
    const world = make(t);
    const driver = await world.driver();
    const { unit } = await driver.start(await world.running());
    await t.throwsAsync(driver.forget(unit), { instanceOf: DriverError });
    await t.notThrowsAsync(driver.forget('nobody'));
    t.is((await driver.observe()).length, 1);
  });

  test(`${name}: output is told by unit and stream, and stays readable after the unit is forgotten`, async t => {
    const world = make(t);
    const driver = await world.driver();
    const wanted = await world.running();
    const { unit, instance } = await driver.start(wanted);
    const text = await world.provokeOutput(wanted);
    await until('output is there', async () => (await linesOf(driver, instance)).length > 0);
    t.like(await linesOf(driver, instance), [{ unit, stream: 'stdout', text }]);
    await driver.stop(unit, 5);
    await driver.forget(unit);
    t.deepEqual(textsOf(await linesOf(driver, instance)), [text]);
    t.deepEqual(await linesOf(driver, 'blog/web/1'), []);
    t.deepEqual(await linesOf(driver, instance, 0), []);
  });

  test(`${name}: followed output comes until the signal aborts`, async t => {
    const world = make(t);
    const driver = await world.driver();
    const following = new AbortController();
    const seen: string[] = [];
    const wanted = await world.running();
    const done = (async () => {
      const options = { lines: 10, follow: true, signal: following.signal };
      for await (const { text } of driver.output(wanted.instance, options)) seen.push(text);
    })();
    await driver.start(wanted);
    const text = await world.provokeOutput(wanted);
    await until('the line was seen', () => seen.includes(text));
    following.abort();
    await t.notThrowsAsync(done);
  });

  test(`${name}: output goes on after a line's cursor, or where a reading began`, async t => {
    const world = make(t);
    const driver = await world.driver();
    const wanted = await world.running();
    const { instance } = wanted;
    const after = async (cursor: string | undefined) => {
      const options = { lines: 0, follow: false, signal: new AbortController().signal };
      return textsOf(
        await collect(
          driver.output(instance, { ...options, ...(cursor !== undefined && { after: cursor }) }),
        ),
      );
    };
    const starts: string[] = [];
    const options = { lines: 0, follow: false, signal: new AbortController().signal };
    await collect(driver.output(instance, { ...options, onStart: cursor => starts.push(cursor) }));
    t.is(starts.length, 1);
    t.regex(starts[0]!, /^[A-Za-z0-9._~-]*$/);
    t.deepEqual(await after(starts[0]), []);
    await driver.start(wanted);
    const text = await world.provokeOutput(wanted);
    await until('output is there', async () => (await linesOf(driver, instance)).length > 0);
    t.deepEqual(await after(starts[0]), [text]);
    const [line] = await linesOf(driver, instance);
    t.regex(line!.cursor!, /^[A-Za-z0-9._~-]+$/);
    t.deepEqual(await after(line!.cursor), []);
  });

  test(`${name}: a closed driver ends what follows it`, async t => {
    const world = make(t);
    const driver = await world.driver();
    const options = { lines: 10, follow: true, signal: new AbortController().signal };
    const next = driver.output('blog/web/0', options)[Symbol.asyncIterator]().next();
    await driver.close();
    t.true((await next).done);
  });
}

for (const [name, make] of Object.entries(commandWorlds)) {
  test(`${name}: an exit by itself has the code, and the last lines of both streams`, async t => {
    const world = make(t);
    const driver = await world.driver();
    const { unit } = await driver.start(launch({ command: 'echo one; echo two >&2; exit 3' }));
    const exit = await exitOf(driver, unit);
    t.like(exit, { code: 3, signal: null, requested: false });
    t.deepEqual(exit.lastOutput.toSorted(), ['one', 'two']);
  });

  test(`${name}: what ends on SIGTERM is not killed`, async t => {
    const world = make(t);
    const driver = await world.driver();
    const { unit } = await driver.start(await world.running());
    await driver.stop(unit, 10);
    t.like(await exitOf(driver, unit), { code: null, signal: 'SIGTERM', requested: true });
  });

  test(`${name}: what ignores SIGTERM is killed when its grace is over, not before`, async t => {
    const world = make(t);
    const driver = await world.driver();
    const { unit, instance } = await driver.start(
      launch({ command: "trap '' TERM; echo deaf; while :; do sleep 0.05; done" }),
    );
    await until('it is deaf', async () => (await linesOf(driver, instance)).length > 0);
    const startedMs = clock.now();
    await driver.stop(unit, 0.4);
    t.true(clock.now() - startedMs >= 400);
    t.like(await exitOf(driver, unit), { code: null, signal: 'SIGKILL', requested: true });
  });
}
