import test from 'ava';
import { Channel, merged } from '../../src/agent/channel.ts';

test('what is sent comes in order, also what was sent before anybody looked; closing ends it', async t => {
  const channel = new Channel<number>();
  channel.send(1);
  channel.send(2);
  const read = collected(channel);
  await Promise.resolve();
  channel.send(3);
  channel.close();
  channel.send(4);
  t.deepEqual(await read, [1, 2, 3]);
});

test('several streams come as one, as their items come', async t => {
  const [one, two] = [new Channel<string>(), new Channel<string>()];
  const read = collected(merged([one, two], new AbortController().signal, () => null));
  one.send('a');
  await Promise.resolve();
  two.send('b');
  two.close();
  await Promise.resolve();
  one.send('c');
  one.close();
  t.deepEqual(await read, ['a', 'b', 'c']);
});

test('a stream that fails says so in its place, and the others go on', async t => {
  const fine = new Channel<string>();
  const read = collected(
    merged([failing(), fine], new AbortController().signal, error => `(${String(error)})`),
  );
  await new Promise(resolve => setImmediate(resolve));
  fine.send('fine');
  fine.close();
  t.deepEqual(await read, ['before', '(Error: broken off)', 'fine']);
});

test('aborting ends it, whatever the streams do', async t => {
  const abort = new AbortController();
  const read = collected(merged([new Channel<string>()], abort.signal, () => null));
  abort.abort();
  t.deepEqual(await read, []);
});

async function* failing(): AsyncGenerator<string> {
  yield 'before';
  throw new Error('broken off');
}

async function collected<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of stream) items.push(item);
  return items;
}
