import test from 'ava';
import { Beats } from '../../src/agent/beats.ts';
import { FakeClock } from '../support/fake-clock.ts';

function hearing() {
  const clock = new FakeClock();
  const dead = new Set<string>();
  let streams = 0;
  let changes = 0;
  const beats = new Beats({
    clock,
    onChange: () => changes++,
    peers: {
      beats: async (peer, onBeat, signal) => {
        streams++;
        while (!signal.aborted && !dead.has(peer.host)) {
          onBeat();
          await clock.sleep(500, signal);
        }
        streams--;
      },
      output: () => {
        throw new Error('not asked for');
      },
    },
  });
  const peers = (...names: string[]) => new Map(names.map(name => [name, { host: name, port: 7400 }]));
  return { clock, dead, beats, peers, changes: () => changes, streams: () => streams };
}

test('who beats is not silent, and nobody is woken', async t => {
  const { clock, beats, peers, changes } = hearing();
  beats.listenTo(peers('node-2', 'node-3'));
  await clock.advance(60_000);
  t.is(beats.silentMs('node-2'), null);
  t.is(changes(), 0);
  beats.stop();
  t.is(clock.pending, 0);
});

test('who falls silent is told when a beat is late, and after 2 s, and heard again at once', async t => {
  const { clock, dead, beats, peers, changes } = hearing();
  beats.listenTo(peers('node-2', 'node-3'));
  await clock.advance(5100);
  dead.add('node-2');
  await clock.advance(700);
  t.is(beats.lateSinceMs('node-2'), null);
  await clock.advance(200);
  t.not(beats.lateSinceMs('node-2'), null);
  t.is(changes(), 1, 'the assessing is woken');
  await clock.advance(900);
  t.is(beats.silentMs('node-2'), null);
  await clock.advance(200);
  t.true(beats.silentMs('node-2')! >= 2000);
  t.is(changes(), 2, 'and again');
  t.is(beats.lateSinceMs('node-3'), null);
  t.is(beats.silentMs('node-3'), null);
  t.false(beats.alone());
  dead.delete('node-2');
  await clock.advance(300);
  t.is(beats.silentMs('node-2'), null);
  t.is(beats.lateSinceMs('node-2'), null);
  t.is(changes(), 3, 'and again, so that nobody goes on without it');
  beats.stop();
});

test('when all fall silent together it is rather this one that is alone', async t => {
  const { clock, dead, beats, peers } = hearing();
  beats.listenTo(peers('node-2', 'node-3'));
  await clock.advance(5100);
  dead.add('node-2').add('node-3');
  await clock.advance(1000);
  t.false(beats.alone());
  t.true(beats.alone(900), 'sooner, for who has to decide sooner');
  await clock.advance(1000);
  t.true(beats.alone());
});

test('of one node alone nothing can be said about oneself', async t => {
  const { clock, dead, beats, peers } = hearing();
  beats.listenTo(peers('node-2'));
  dead.add('node-2');
  await clock.advance(5000);
  t.true(beats.silentMs('node-2')! > 2000);
  t.false(beats.alone());
});

test('who is not listened to any more is not known, and one at another address is another', async t => {
  const { clock, dead, beats, peers, streams } = hearing();
  beats.listenTo(peers('node-2', 'node-3'));
  await clock.advance(1000);
  t.is(streams(), 2);
  dead.add('node-2');
  beats.listenTo(new Map([['node-2', { host: 'elsewhere', port: 7400 }]]));
  await clock.advance(5000);
  t.is(streams(), 1);
  t.is(beats.silentMs('node-2'), null);
  t.is(beats.silentMs('node-3'), null);
  beats.stop();
  await clock.advance(1000);
  t.is(streams(), 0);
  t.is(clock.pending, 0);
});

test('a stream that stays silent is hung up on: the next one hears who was only cut off for a while', async t => {
  const clock = new FakeClock();
  let streams = 0;
  const beats = new Beats({
    clock,
    onChange: () => undefined,
    peers: {
      // The first hangs on a connection that nobody ends.
      beats: async (_, onBeat, signal) => {
        const hangs = ++streams === 1;
        while (!signal.aborted) {
          if (!hangs || clock.now() < 1000) onBeat();
          await clock.sleep(500, signal);
        }
      },
      output: () => {
        throw new Error('not asked for');
      },
    },
  });
  beats.listenTo(new Map([['node-2', { host: 'node-2', port: 7400 }]]));
  await clock.advance(6000);
  t.true(beats.silentMs('node-2')! > 5000);
  t.is(streams, 1, 'a slow one is given time to answer');
  await clock.advance(1000);
  t.is(beats.silentMs('node-2'), null);
  await clock.advance(60_000);
  t.is(streams, 2, 'one that beats is kept');
  beats.stop();
  await clock.advance(1000);
  t.is(clock.pending, 0);
});

test('listening to the same again goes on as before', async t => {
  const { clock, beats, peers, streams } = hearing();
  for (let times = 0; times < 10; times++) {
    beats.listenTo(peers('node-2'));
    await clock.advance(100);
  }
  t.is(streams(), 1);
  beats.stop();
});
