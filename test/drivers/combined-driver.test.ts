import test from 'ava';

import { drivers } from '../../src/drivers/combined-driver.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeDriver } from '../support/fake-driver.ts';
import { processSpec } from '../support/nouns.ts';
import { until } from '../support/until.ts';
import { collect, launch, linesOf, textsOf } from './helpers.ts';

function parts(): { clock: FakeClock; process: FakeDriver; static: FakeDriver } {
  const clock = new FakeClock();
  return { clock, process: new FakeDriver({ clock }), static: new FakeDriver({ clock }) };
}

const STATIC = processSpec({ kind: 'static', command: '', directory: '.' });

for (const [kind, part] of [
  ['command', 'process'],
  ['wsgi', 'process'],
  ['static', 'static'],
] as const) {
  test(`a process of kind ${kind} goes to the ${part} driver`, async t => {
    const both = parts();
    const driver = drivers(both);
    await driver.start(launch({ process: processSpec({ kind }) }));
    t.is(both[part].launches.length, 1);
    t.is(both.process.launches.length + both.static.launches.length, 1);
  });
}

test('units of both are observed, stopped and forgotten, and exits of both wake', async t => {
  const both = parts();
  const driver = drivers(both);
  let woken = 0;
  const unlisten = driver.onExit(() => woken++);
  await driver.start(launch({ unit: 'a' }));
  await driver.start(launch({ unit: 'b', process: STATIC }));
  t.deepEqual(
    (await driver.observe()).map(({ unit }) => unit),
    ['a', 'b'],
  );
  await driver.stop('a', 1);
  await driver.stop('b', 1);
  t.is(woken, 2);
  await driver.forget('a');
  await driver.forget('b');
  t.deepEqual(await driver.observe(), []);
  unlisten();
  await driver.start(launch({ unit: 'c' }));
  await driver.stop('c', 1);
  t.is(woken, 2);
});

test('the output of an instance that changed its kind is read from both, and bounded', async t => {
  const both = parts();
  const driver = drivers(both);
  await driver.start(launch({ unit: 'a' }));
  await driver.start(launch({ unit: 'b', process: STATIC }));
  both.process.print('a', 'stdout', 'one');
  both.process.print('a', 'stdout', 'two');
  both.static.print('b', 'stdout', 'three');
  t.deepEqual(textsOf(await linesOf(driver, 'blog/web/0')), ['one', 'two', 'three']);
  t.deepEqual(textsOf(await linesOf(driver, 'blog/web/0', 2)), ['two', 'three']);
  t.deepEqual(textsOf(await linesOf(driver, 'blog/web/0', 0)), []);
});

test('both are followed, however much one writes, until the signal aborts', async t => {
  const both = parts();
  const driver = drivers(both);
  await driver.start(launch({ unit: 'a' }));
  await driver.start(launch({ unit: 'b', process: STATIC }));
  const following = new AbortController();
  const seen: string[] = [];
  const done = (async () => {
    const options = { lines: 0, follow: true, signal: following.signal };
    for await (const { text } of driver.output('blog/web/0', options)) seen.push(text);
  })();
  await both.clock.advance(200);
  for (let line = 0; line < 3000; line++) both.process.print('a', 'stdout', `a${line}`);
  both.static.print('b', 'stdout', 'b');
  await both.clock.advance(200);
  await until('all was seen', () => seen.length === 3001);
  t.deepEqual(
    seen.filter(text => text !== 'b'),
    Array.from({ length: 3000 }, (_, line) => `a${line}`),
  );
  following.abort();
  await t.notThrowsAsync(done);
});

test('who stops following early leaves nothing behind', async t => {
  const both = parts();
  const driver = drivers(both);
  await driver.start(launch({ unit: 'a' }));
  both.process.print('a', 'stdout', 'one');
  const options = { lines: 10, follow: true, signal: new AbortController().signal };
  for await (const { text } of driver.output('blog/web/0', options)) {
    t.is(text, 'one');
    break;
  }
  t.is(both.clock.pending, 0);
});

test('closing closes both and ends what follows', async t => {
  const both = parts();
  const driver = drivers(both);
  const options = { lines: 10, follow: true, signal: new AbortController().signal };
  const following = collect(driver.output('blog/web/0', options));
  await driver.close();
  t.deepEqual(await following, []);
});
