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
  /** Signs of life it was asked for. */
  asked = 0;

  write({ create_request }: { create_request?: { watch_id: string } }): void {
    if (create_request === undefined) {
      this.asked++;
      return;
    }
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

/** A hub at one member of etcd, which another caller can leave for another, and what becomes of its watches. */
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
  const member = { url: 'http://etcd', client, callOptions: async () => ({}), forgetToken: () => false };
  let moved: (silent: object | null) => void = () => undefined;
  const endpoints = {
    current: member,
    onMoved: (listener: typeof moved) => (moved = listener),
    failed: () => undefined,
    heard: () => undefined,
  };
  const leave = (silent: boolean, to = { ...member }): typeof member => {
    endpoints.current = to;
    moved(silent ? member : null);
    return to;
  };
  const watching = new WatchHub(endpoints as unknown as Endpoints, { clock, random: new FakeRandom(1), log });
  const ends: WatchEnd[] = [];
  let heard = 0;
  const watch = (): void => {
    const request = { prefix: '/hop3/', fromRevision: 8n };
    const told = watching.watch(request, () => heard++, new AbortController().signal);
    void told.then(end => ends.push(end));
  };
  return { clock, log, streams, etcd, watching, watch, leave, ends, heard: () => heard };
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

test('of a member that gave no sign of life to another caller none is awaited', async t => {
  const { clock, streams, watch, leave, ends } = hub();
  watch();
  await clock.advance(10);
  leave(true);
  await clock.settle();
  t.like(ends, [{ next: 'rewatch' }]);
  watch();
  await clock.advance(25);
  t.is(streams.length, 2);
});

test('a member that another caller has left gives a sign of life soon, or is left', async t => {
  const { clock, streams, watch, leave, ends } = hub();
  watch();
  await clock.advance(10);
  leave(false);
  await clock.settle();
  t.is(streams[0]?.asked, 1);
  streams[0]?.say({ watch_id: '-1' });
  await clock.advance(2000);
  t.deepEqual(ends, [], 'it gave one');
  leave(false);
  for (let count = 0; count < 5; count++) {
    await clock.advance(100);
    // However often others move on meanwhile.
    leave(false);
  }
  t.is(ends.length, 1);
});

test('a member that another caller turns to is not doubted', async t => {
  const { clock, streams, watch, leave, ends } = hub();
  watch();
  await clock.advance(10);
  const other = leave(true);
  watch();
  await clock.advance(25);
  leave(false, other);
  await clock.settle();
  t.is(streams.length, 2);
  t.is(streams[1]?.asked, 0);
  t.is(ends.length, 1);
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
