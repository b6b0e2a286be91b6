import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';

import { outputFilesFor, removeAbandoned } from '../../src/drivers/output-files.ts';
import { readTail, rotate } from '../../src/drivers/output-pieces.ts';
import { lastOutput } from '../../src/drivers/output-reading.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { until } from '../support/until.ts';
import { collect, exitOf, launch, linesOf, processDriverIn, temporaryDirectory, textsOf } from './helpers.ts';

/** Commands that go on when they are told to. */
function steps(t: ExecutionContext): {
  directory: string;
  wait: (step: string) => string;
  go: (step: string) => void;
} {
  const directory = temporaryDirectory(t);
  return {
    directory,
    wait: step => `while [ ! -e ${directory}/${step} ]; do sleep 0.02; done`,
    go: step => writeFileSync(join(directory, step), ''),
  };
}

function numbers(from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, index) => `line ${from + index}`);
}

function print(from: number, to: number): string {
  return `seq -f 'line %g' ${from} ${to}`;
}

function files(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter(name =>
    statSync(join(directory, name)).isFile(),
  );
}

test('a file that has grown too large is rotated under its writer, and no line is lost to who follows or looks back', async t => {
  const { directory, wait, go } = steps(t);
  const clock = new FakeClock();
  const driver = processDriverIn(t, directory, { clock, rotation: { bytes: 1500, files: 3 } });
  const command = [1, 2, 3]
    .map(
      part =>
        `${wait(`go${part}`)}; ${print(part * 1000 + 1, part * 1000 + 200)}; : > ${directory}/done${part}`,
    )
    .join('; ');
  const { instance } = await driver.start(launch({ command: `${command}; sleep 300` }));

  const following = new AbortController();
  const seen: string[] = [];
  const followed = (async () => {
    const options = { lines: 0, follow: true, signal: following.signal };
    for await (const { text } of driver.output(instance, options)) seen.push(text);
  })();
  for (const part of [1, 2, 3]) {
    go(`go${part}`);
    await until('the lines are written', () => existsSync(join(directory, `done${part}`)));
    // Part two is rotated before the follower had a chance to look.
    if (part !== 2) await clock.advance(200);
    await clock.advance(1000);
  }
  await clock.advance(1000);
  const all = [...numbers(1001, 1200), ...numbers(2001, 2200), ...numbers(3001, 3200)];
  await until('all was seen', () => seen.length >= all.length);
  t.deepEqual(seen, all);
  following.abort();
  await followed;

  t.deepEqual(textsOf(await linesOf(driver, instance, 100)), numbers(3101, 3200));
  const kept = files(join(directory, 'logs')).filter(name => name.includes('.out'));
  t.is(kept.length, 3);
  for (const name of kept) t.true(statSync(join(directory, 'logs', name)).size <= 3000, name);
});

test('of many ended copies the output of the newest five is kept', async t => {
  const directory = temporaryDirectory(t);
  const clock = new FakeClock();
  const driver = processDriverIn(t, directory, { clock });
  for (const letter of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) {
    await clock.advance(1);
    await driver.start(launch({ unit: letter, command: `echo ${letter}` }));
    await exitOf(driver, letter);
    await driver.forget(letter);
  }
  await driver.start(launch({ unit: 'now', command: 'echo now; sleep 300' }));
  await until('it wrote', async () =>
    (await linesOf(driver, 'blog/web/0')).some(({ unit }) => unit === 'now'),
  );
  await clock.advance(1000);
  t.deepEqual(textsOf(await linesOf(driver, 'blog/web/0')), ['c', 'd', 'e', 'f', 'g', 'now']);
});

test('an unfinished line is held back from who follows until it is finished, or its unit has ended', async t => {
  const { directory, wait, go } = steps(t);
  const driver = processDriverIn(t, directory);
  const { instance } = await driver.start(
    launch({ command: `printf 'first '; ${wait('go1')}; echo half; printf unfinished; ${wait('go2')}` }),
  );
  const following = new AbortController();
  const seen: string[] = [];
  await until('half a line is there', async () => (await linesOf(driver, instance)).length === 1);
  const done = (async () => {
    const options = { lines: 10, follow: true, signal: following.signal };
    for await (const { text } of driver.output(instance, options)) seen.push(text);
  })();
  go('go1');
  await until('it was seen', () => seen.length === 1);
  t.deepEqual(seen, ['first half']);
  go('go2');
  await until('the rest was seen', () => seen.length === 2);
  t.deepEqual(seen, ['first half', 'unfinished']);
  following.abort();
  await done;
});

test('copies are told apart, and come in the order they were started', async t => {
  const driver = processDriverIn(t, temporaryDirectory(t));
  for (const unit of ['z', 'm', 'a']) {
    await driver.start(launch({ unit, command: `echo from ${unit}` }));
    await exitOf(driver, unit);
  }
  const lines = await linesOf(driver, 'blog/web/0');
  t.deepEqual(
    lines.map(({ unit, text }) => `${unit}: ${text}`),
    ['z: from z', 'm: from m', 'a: from a'],
  );
  t.deepEqual(textsOf(await linesOf(driver, 'blog/web/0', 2)), ['from m', 'from a']);
});

const sharing = [
  { name: 'a flood on stdout leaves room for stderr', out: 100, err: 100, gotOut: 10, gotErr: 10 },
  { name: 'little on stderr is all there', out: 100, err: 3, gotOut: 17, gotErr: 3 },
  { name: 'little on stdout is all there', out: 2, err: 100, gotOut: 2, gotErr: 18 },
  { name: 'little on both is all there', out: 4, err: 5, gotOut: 4, gotErr: 5 },
  { name: 'nothing is nothing', out: 0, err: 0, gotOut: 0, gotErr: 0 },
];

for (const { name, out, err, gotOut, gotErr } of sharing) {
  test(`of the last 20 lines, ${name}`, t => {
    const directory = temporaryDirectory(t);
    const output = outputFilesFor(directory, 'unit', '2026-01-01T00:00:00.000Z');
    writeFileSync(
      output.out,
      numbers(1, out)
        .map(line => `${line}\n`)
        .join(''),
    );
    writeFileSync(
      output.err,
      numbers(1, err)
        .map(line => `oops ${line}\n`)
        .join(''),
    );
    const lines = lastOutput(output, 20);
    t.is(lines.filter(line => !line.startsWith('oops')).length, gotOut);
    t.is(lines.filter(line => line.startsWith('oops')).length, gotErr);
    if (gotOut > 0) t.true(lines.includes(`line ${out}`));
    if (gotErr > 0) t.true(lines.includes(`oops line ${err}`));
  });
}

test('the newest lines are found whatever was rotated when', t => {
  const line = fc.string({ unit: fc.constantFrom('a', 'é', '😀', ' '), maxLength: 40 });
  fc.assert(
    fc.property(fc.array(fc.array(line, { maxLength: 20 }), { maxLength: 6 }), fc.nat(30), (parts, count) => {
      const file = join(temporaryDirectory(t), 'x.out');
      for (const part of parts) {
        writeFileSync(file, part.map(text => `${text}\n`).join(''), { flag: 'a' });
        rotate(file, { bytes: 500, files: 100 }, () => undefined);
      }
      const before = parts.flat();
      const found = readTail(file, count, { partial: true }).lines.map(({ text }) => text);
      // A part larger than twice the limit keeps its newest bytes only, so its first line may be cut.
      const expected = before.slice(Math.max(0, before.length - count));
      t.deepEqual(found.slice(1), expected.slice(expected.length - found.length).slice(1));
    }),
    { numRuns: 60 },
  );
});

test('bytes that are not text, carriage returns and very long lines do no harm', async t => {
  const driver = processDriverIn(t, temporaryDirectory(t));
  const command = String.raw`printf 'a\r\n\377\376\n'; head -c 100000 /dev/zero | tr '\0' x; echo; echo end`;
  const { unit, instance } = await driver.start(launch({ command }));
  const exit = await exitOf(driver, unit);
  const lines = textsOf(await linesOf(driver, instance));
  t.deepEqual([lines[0], lines[1], lines.at(-1)], ['a', '\ufffd\ufffd', 'end']);
  t.true(exit.lastOutput.every(text => text.length <= 500));
  t.is(exit.lastOutput.at(-1), 'end');
});

test('output can be read only by the agent itself', async t => {
  const directory = temporaryDirectory(t);
  const driver = processDriverIn(t, directory);
  await exitOf(driver, (await driver.start(launch({ command: 'echo secret' }))).unit);
  const [file] = files(join(directory, 'logs')).map(name => join(directory, 'logs', name));
  t.is(statSync(file!).mode & 0o077, 0);
  t.is(statSync(dirname(file!)).mode & 0o077, 0);
  t.is(readFileSync(file!.replace(/err$/, 'out'), 'utf8'), 'secret\n');
});

test('the output of instances that are long gone is removed', t => {
  const logs = temporaryDirectory(t);
  const old = new Date('2026-01-01');
  for (const name of ['gone', 'used', 'fresh']) {
    mkdirSync(join(logs, name, 'web.0'), { recursive: true });
    const file = join(logs, name, 'web.0', 'x.out');
    writeFileSync(file, 'x\n');
    if (name !== 'fresh') utimesSync(file, old, old);
  }
  removeAbandoned(logs, new Set([join(logs, 'used', 'web.0')]), Date.parse('2026-01-02'));
  t.false(existsSync(join(logs, 'gone', 'web.0')));
  t.true(existsSync(join(logs, 'used', 'web.0', 'x.out')));
  t.true(existsSync(join(logs, 'fresh', 'web.0', 'x.out')));
});

test('an instance without output has none', async t => {
  const driver = processDriverIn(t, temporaryDirectory(t));
  const signal = new AbortController().signal;
  t.deepEqual(await collect(driver.output('no/such/0', { lines: 10, follow: false, signal })), []);
});
