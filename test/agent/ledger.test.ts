import test from 'ava';
import { eventName, Ledger } from '../../src/agent/ledger.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeLog } from '../support/fake-log.ts';
import { FakeEtcd } from '../support/fake-store.ts';

function world() {
  const clock = new FakeClock();
  const etcd = new FakeEtcd(clock);
  const store = etcd.client('node-1');
  const log = new FakeLog();
  const ledger = new Ledger({ node: 'node-1', store, clock, log });
  const note = (message: string): void => ledger.note({ kind: 'tried', subject: 'it', message });
  const written = (): string[] => Object.values(etcd.contents('events')).map(event => event.message);
  return { clock, etcd, store, log, ledger, note, written };
}

test('what is noted within a moment is written together, in order', async t => {
  const { clock, etcd, note, written } = world();
  const { revision } = etcd;
  note('one');
  note('two');
  await clock.advance(100);
  note('three');
  t.deepEqual(written(), []);
  await clock.advance(50);
  t.deepEqual(written(), ['one', 'two', 'three']);
  t.is(etcd.revision, revision + 1n);
});

test('an event says what, of what, when, where, and its details; the log has it as well', async t => {
  const { ledger, etcd, log } = world();
  ledger.note({ kind: 'tried', subject: 'it', message: 'it was tried', details: { times: 2 } });
  await ledger.flush();
  t.deepEqual(Object.values(etcd.contents('events')), [
    {
      v: 1,
      at: '2026-01-01T00:00:00.000Z',
      node: 'node-1',
      kind: 'tried',
      subject: 'it',
      message: 'it was tried',
      details: { times: 2 },
    },
  ]);
  t.deepEqual(log.lines, [
    { level: 'info', message: 'it was tried', fields: { event: 'tried', subject: 'it', times: 2 } },
  ]);
});

test('names sort by time, then by count', t => {
  const names = [
    eventName('2026-01-01T00:00:00.000Z', 'node-1', 9),
    eventName('2026-01-01T00:00:00.000Z', 'node-1', 10),
    eventName('2026-01-01T00:00:00.001Z', 'node-1', 0),
  ];
  t.deepEqual(names.toSorted(), names);
});

for (const link of ['refused', 'silent', 'replies-lost'] as const) {
  test(`with the store ${link}, notes wait, and are written once when it is back`, async t => {
    const { clock, store, note, written, ledger } = world();
    store.setLink(link);
    note('one');
    await clock.advance(10_000);
    note('two');
    t.true(ledger.backlog().waiting > 0);
    store.setLink('up');
    await clock.advance(5000);
    t.deepEqual(written(), ['one', 'two']);
    t.deepEqual(ledger.backlog(), { waiting: 0, dropped: 0 });
  });
}

test('while the store is away no more than 2000 notes are kept, the newest', async t => {
  const { clock, store, note, written, ledger } = world();
  store.setLink('silent');
  for (let index = 0; index < 5000; index++) {
    note(`${index}`);
    if (index % 500 === 0) await clock.advance(2200);
    t.true(ledger.backlog().waiting <= 2000);
  }
  store.setLink('up');
  await clock.advance(10_000);
  t.deepEqual(ledger.backlog(), { waiting: 0, dropped: 3000 });
  t.deepEqual(
    written(),
    Array.from({ length: 2000 }, (_, index) => `${3000 + index}`),
  );
});

test('notes can go with a transaction that is made anyway, and come back when it fails', async t => {
  const { clock, etcd, note, ledger, store, written } = world();
  note('one');
  note('two');
  note('three');
  const taken = ledger.take(2);
  t.is(taken.writes.length, 2);
  taken.putBack();
  const again = ledger.take(2);
  await store.commit([], again.writes);
  t.deepEqual(written(), ['one', 'two']);
  await clock.advance(150);
  t.deepEqual(written(), ['one', 'two', 'three']);
  t.is(etcd.revision, 3n);
});

test('what came back after the timer had fired is still written', async t => {
  const { clock, note, ledger, written } = world();
  note('one');
  const taken = ledger.take(1);
  await clock.advance(200);
  taken.putBack();
  await clock.advance(1000);
  t.deepEqual(written(), ['one']);
});

test('a hundred notes are not too many for one transaction', async t => {
  const { ledger, note, written } = world();
  for (let index = 0; index < 300; index++) note(`${index}`);
  await ledger.flush();
  t.is(written().length, 300);
});

test('closing writes what waits, and leaves no timer', async t => {
  const { clock, note, ledger, written } = world();
  note('one');
  await ledger.close();
  t.deepEqual(written(), ['one']);
  t.is(clock.pending, 0);
});

test('closing without a store gives up, and leaves no timer', async t => {
  const { clock, store, note, ledger } = world();
  store.setLink('refused');
  note('one');
  await ledger.close();
  await clock.advance(10_000);
  t.is(clock.pending, 0);
});
