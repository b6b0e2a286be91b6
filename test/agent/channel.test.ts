import test from 'ava';
import { Channel } from '../../src/agent/channel.ts';

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

test('what is offered waits for room, and for nothing once it is closed', async t => {
  const channel = new Channel<number>();
  const offered: number[] = [];
  const offering = (async () => {
    for (const item of [1, 2, 3, 4]) {
      await channel.offer(item, 2);
      offered.push(item);
    }
  })();
  await new Promise(resolve => setImmediate(resolve));
  t.deepEqual(offered, [1, 2]);
  const reading = channel[Symbol.asyncIterator]();
  t.is((await reading.next()).value, 1);
  await new Promise(resolve => setImmediate(resolve));
  t.deepEqual(offered, [1, 2, 3]);
  channel.close();
  await offering;
  t.deepEqual(await collected(channel), [2, 3]);
});

async function collected<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of stream) items.push(item);
  return items;
}
