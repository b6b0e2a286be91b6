import { EventEmitter } from 'node:events';
import test from 'ava';
import type { Endpoints } from '../../src/store/endpoints.ts';
import { WatchHub } from '../../src/store/watch-hub.ts';
import type { WatchEnd } from '../../src/store/wire.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeLog } from '../support/fake-log.ts';
import { FakeRandom } from '../support/fake-random.ts';

const HEADER = { cluster_id: '1', revision: '7' };
const MINUTE_MS = 60_000;

/** A stream of which each watch is made, and on which nothing else is said. */
class Stream extends EventEmitter {
  readonly made: string[] = [];

  write({ create_request }: { create_request?: { watch_id: string } }): void {
    if (create_request === undefined) return;
    this.made.push(create_request.watch_id);
    this.say({ watch_id: create_request.watch_id, created: true });
  }

  say(reply: object): void {
    this.emit('data', {
      header: HEADER,
      created: false,
      canceled: false,
      events: [],
      fragment: false,
      ...reply,
    });
  }

  cancel(): void {}
}

/** A hub at one member of etcd, and what becomes of its watches. */
function hub() {
  const clock = new FakeClock();
  const log = new FakeLog();
  const streams: Stream[] = [];
  const etcd = { hasLeader: true };
  const open = async (): Promise<Stream> => {
    const stream = new Stream();
    streams.push(stream);
    if (!etcd.hasLeader) throw new Error('etcdserver: no leader');
    return stream;
  };
  const client = { watchClient: { watch: open } };
  const current = { url: 'http://etcd', client, callOptions: async () => ({}), forgetToken: () => false };
  const endpoints = { current, onMoved: () => undefined, failed: () => undefined } as unknown as Endpoints;
  const watching = new WatchHub(endpoints, { clock, random: new FakeRandom(1), log });
  const ends: WatchEnd[] = [];
  let heard = 0;
  const watch = (): void => {
    const request = { prefix: '/hop3/', fromRevision: 8n };
    const told = watching.watch(request, () => heard++, new AbortController().signal);
    void told.then(end => ends.push(end));
  };
  return { clock, log, streams, etcd, watching, watch, ends, heard: () => heard };
}

test('without a leader one stream is tried for all watches, once a second in the end, and it is said once', async t => {
  const { clock, log, streams, etcd, watch, ends } = hub();
  etcd.hasLeader = false;
  for (let count = 0; count < 18; count++) watch();
  await clock.advance(10_000);
  // Half a second is the shortest pause by then; before, they double from 25 ms on.
  t.true(streams.length >= 10 && streams.length <= 26, `${streams.length}`);
  t.deepEqual(ends, [], 'nobody has to ask again');
  t.is(log.lines.filter(({ level }) => level === 'info').length, 1);
});

test('however long there was none, all watches are heard within a second of a leader', async t => {
  const { clock, streams, etcd, watch, heard } = hub();
  etcd.hasLeader = false;
  for (let count = 0; count < 18; count++) watch();
  await clock.advance(5 * MINUTE_MS);
  etcd.hasLeader = true;
  await clock.advance(1000);
  t.is(heard(), 18);
  t.is(new Set(streams.at(-1)!.made).size, 18);
});

test('a stream that brought something is replaced at once when it ends, and its watches are asked for anew', async t => {
  const { clock, streams, etcd, watch, ends } = hub();
  etcd.hasLeader = false;
  watch();
  await clock.advance(MINUTE_MS);
  etcd.hasLeader = true;
  await clock.advance(1000);
  const first = streams.at(-1)!;
  first.say({ watch_id: first.made[0] });
  first.emit('error', new Error('connection reset'));
  await clock.settle();
  t.is(ends.length, 1);
  t.is(ends[0]?.next, 'rewatch');
  watch();
  await clock.advance(25);
  t.is(streams.at(-1)!.made.length, 1);
  t.not(streams.at(-1), first);
});

test('streams on which watches are made, and which end at once, are not opened in haste', async t => {
  const { clock, streams, watch, ends, watching } = hub();
  const endless = async (): Promise<void> => {
    for (let seen = 0; ; seen++) {
      watch();
      while (ends.length === seen) await clock.sleep(5);
    }
  };
  void endless();
  for (let passedMs = 0; passedMs < 20_000; passedMs += 5) {
    streams.at(-1)?.emit('error', new Error('etcdserver: no leader'));
    await clock.advance(5);
  }
  t.true(streams.length <= 50, `${streams.length}`);
  watching.close();
});

test('a closed hub ends all watches and leaves no timer', async t => {
  const { clock, etcd, watch, ends, watching } = hub();
  etcd.hasLeader = false;
  watch();
  await clock.advance(5000);
  watching.close();
  await clock.advance(0);
  t.is(ends.length, 1);
  t.is(clock.pending, 0);
});
