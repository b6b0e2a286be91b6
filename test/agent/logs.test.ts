/** Logs as a client has them: over the real API, from drivers and peers over real HTTP. */
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { readLogs, type LogParts } from '../../src/agent/logs.ts';
import { apiClient, type ApiClient } from '../../src/api/client.ts';
import { startAdminApi } from '../../src/api/server.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { httpPeers, listenForPeers } from '../../src/platform/peers.ts';
import type { LogLine } from '../../src/model/views.ts';
import type { Driver } from '../../src/ports/driver.ts';
import type { Peers } from '../../src/ports/peers.ts';
import { launch, processDriverIn, temporaryDirectory } from '../drivers/helpers.ts';
import { FakeAdmin } from '../support/fake-admin.ts';
import { FakeDriver } from '../support/fake-driver.ts';
import { FakeLog } from '../support/fake-log.ts';
import { appSpec, processSpec } from '../support/nouns.ts';
import { until } from '../support/until.ts';
import { appRecord, member, ownerRecord } from './helpers.ts';

const clock = systemClock();

/** Two nodes; the API of the first, which asks the second's listener. */
async function cluster(t: ExecutionContext, drivers: { 'node-1': Driver; 'node-2': Driver }) {
  const one = await member();
  const two = await member({ etcd: one.etcd, clock: one.clock, node: 'node-2' });
  const scale = async (count: number): Promise<void> => {
    const spec = appSpec({ processes: [processSpec({ scale: count })] });
    await one.store.commit([], [{ put: 'apps', name: 'blog', value: appRecord(spec) }]);
    await one.clock.settle();
  };
  await scale(2);
  let connection = await listening(drivers['node-2']);
  t.teardown(() => connection.close());
  const real = httpPeers({ tls: null });
  const peers: Pick<Peers, 'output'> = {
    output: (_peer, instance, options) => real.output(connection, instance, options),
  };
  const parts: LogParts = { node: 'node-1', world: one.world, driver: drivers['node-1'], peers, clock };
  const admin = new FakeAdmin();
  admin.logs = (target, options, signal) => readLogs(parts, target, options, signal) as never;
  const listen = { host: '127.0.0.1', port: 0, tls: null };
  const api = await startAdminApi({ admin, listen, socket: null, tokens: [], log: new FakeLog(), clock });
  t.teardown(() => api.close());

  const sessions = { 'node-1': one.keeper, 'node-2': two.keeper };
  return {
    client: apiClient({ url: api.url }),
    scale,
    /** The instance is that node's from now on, or was. */
    own: async (instance: string, node: 'node-1' | 'node-2', was = false) => {
      const incarnation = sessions[node].current()?.incarnation ?? '';
      const subject = `instance/${instance}`;
      const released = was ? { at: '2026-01-01T00:00:00.000Z', reason: 'not wanted' } : null;
      const value = ownerRecord({ subject, node, incarnation, released });
      await one.store.commit([], [{ put: 'owners', name: subject, value }]);
      await one.clock.settle();
    },
    /** The peer's agent goes and comes back, at another port. */
    restartPeer: async () => {
      await connection.close();
      connection = await listening(drivers['node-2']);
    },
  };
}

function listening(driver: Driver) {
  const artifacts = () => undefined;
  return listenForPeers({ host: '127.0.0.1', port: 0, tls: null, driver, artifacts });
}

/** Follows on from `lastId` until it has so many lines, and leaves. */
async function followOn(client: ApiClient, lastId: string, count: number) {
  const lines: LogLine[] = [];
  for await (const { id, value } of client.followLogs('blog', { lines: 0, lastId })) {
    lastId = id;
    if (value !== null) lines.push(value);
    if (lines.length >= count) break;
  }
  return { lines, lastId };
}

test('a follower that is cut off again and again gets every line of every node once, over rotations', async t => {
  const steps = temporaryDirectory(t);
  const directories = { 'node-1': temporaryDirectory(t), 'node-2': temporaryDirectory(t) };
  const rotation = { bytes: 600, files: 50 };
  const drivers = {
    'node-1': processDriverIn(t, directories['node-1'], { rotation }),
    'node-2': processDriverIn(t, directories['node-2'], { rotation }),
  };
  const { client, own } = await cluster(t, drivers);
  const at = { 'blog/web/0': 'node-1', 'blog/web/1': 'node-2' } as const;
  for (const [instance, node] of Object.entries(at)) {
    await own(instance, node);
    const name = instance.replaceAll('/', '.');
    const part = (number: number) =>
      `while [ ! -e ${steps}/go${number} ]; do sleep 0.02; done; ` +
      `seq -f 'line %g' ${number * 100 + 1} ${number * 100 + 100}; : > ${steps}/${name}.${number}`;
    const command = `${[0, 1, 2].map(part).join('; ')}; sleep 300`;
    await drivers[node].start(launch({ unit: name, instance, command }));
  }

  const seen: LogLine[] = [];
  let lastId = '';
  const follow = async (count: number) => {
    const { lines, lastId: next } = await followOn(client, lastId, count);
    seen.push(...lines);
    lastId = next;
  };
  // Nothing has been written yet: only the place is told.
  for await (const place of client.followLogs('blog', { lines: 0 })) {
    lastId = place.id;
    break;
  }
  for (const number of [0, 1, 2]) {
    writeFileSync(join(steps, `go${number}`), '');
    if (number === 1) await follow(50);
    for (const [instance, node] of Object.entries(at)) {
      const written = join(steps, `${instance.replaceAll('/', '.')}.${number}`);
      await until('it is written', () => existsSync(written));
      await until('it is rotated', () => rotated(directories[node], instance) === number + 1);
    }
    await follow(70);
  }
  await follow(600 - seen.length);
  const expected = Array.from({ length: 300 }, (_, index) => `line ${index + 1}`);
  for (const [instance, node] of Object.entries(at)) {
    const own = seen.filter(line => line.instance === instance);
    t.deepEqual(
      own.map(({ text }) => text),
      expected,
    );
    t.true(own.every(line => line.node === node));
  }
});

function rotated(directory: string, instance: string): number {
  const [app = '', type = '', index = ''] = instance.split('/');
  const logs = join(directory, 'logs', app, `${type}.${index}`);
  const names = readdirSync(logs).filter(name => /\.out\.\d+$/.test(name));
  const newest = readdirSync(logs).find(name => name.endsWith('.out')) ?? '';
  return statSync(join(logs, newest)).size === 0 ? names.length : 0;
}

test('an instance that moves is followed to where it goes, and through the restart of an agent', async t => {
  const drivers = { 'node-1': new FakeDriver({ clock }), 'node-2': new FakeDriver({ clock }) };
  t.teardown(() => Promise.all(Object.values(drivers).map(driver => driver.close())));
  const { client, own, restartPeer } = await cluster(t, drivers);
  await own('blog/web/0', 'node-1');
  await own('blog/web/1', 'node-1');
  await drivers['node-1'].start(launch({ unit: 'a' }));
  drivers['node-1'].print('a', 'stdout', 'old');

  const seen: string[] = [];
  const leaving = new AbortController();
  const following = (async () => {
    for await (const { value } of client.followLogs('blog', { lines: 0 }, leaving.signal)) {
      if (value !== null) seen.push(`${value.node}: ${value.text}`);
    }
  })();
  await until('it is followed', () => {
    drivers['node-1'].print('a', 'stdout', 'here');
    return seen.length > 0;
  });
  await drivers['node-2'].start(launch({ unit: 'b' }));
  drivers['node-2'].print('b', 'stdout', 'there');
  await own('blog/web/0', 'node-2');
  await until('the other node was heard', () => seen.includes('node-2: there'));
  await restartPeer();
  drivers['node-2'].print('b', 'stdout', 'still there');
  await until('it is heard again', () => seen.includes('node-2: still there'));
  leaving.abort(new Error('seen enough'));
  await t.throwsAsync(following, { message: 'seen enough' });
  t.false(seen.includes('node-1: old'));
  t.is(seen.filter(text => text === 'node-2: there').length, 1);
  t.is(seen.filter(text => text === 'node-2: still there').length, 1);
});

test('of an app scaled to 0 it is said that nothing runs, and what its last instances wrote is read where they were', async t => {
  const drivers = { 'node-1': new FakeDriver({ clock }), 'node-2': new FakeDriver({ clock }) };
  t.teardown(() => Promise.all(Object.values(drivers).map(driver => driver.close())));
  const { client, own, scale } = await cluster(t, drivers);
  const read = async (target: string): Promise<string[]> => {
    const lines: string[] = [];
    for await (const { instance, node, text } of client.logs(target))
      lines.push(`${instance}@${node} ${text}`);
    return lines.sort();
  };
  await scale(0);
  await t.throwsAsync(read('blog'), { message: /"blog" has no instance, and has never had one/ });
  await t.throwsAsync(read('blog/wbe'), { message: /there is no app, process type or instance "blog\/wbe"/ });
  await own('blog/web/0', 'node-2', true);
  await own('blog/web/1', 'node-1', true);
  await drivers['node-2'].start(launch({ unit: 'a' }));
  drivers['node-2'].print('a', 'stdout', 'the last words');
  const kept = (node: string): string => `(there is no such instance now; what ${node} has kept of it:)`;
  const last = [`blog/web/0@node-2 ${kept('node-2')}`, 'blog/web/0@node-2 the last words'];
  t.deepEqual(await read('blog/web'), [...last, `blog/web/1@node-1 ${kept('node-1')}`]);
  await scale(1);
  t.deepEqual(await read('blog/web/1'), [`blog/web/1@node-1 ${kept('node-1')}`]);
  await own('blog/web/0', 'node-1');
  await drivers['node-1'].start(launch({ unit: 'b' }));
  drivers['node-1'].print('b', 'stdout', 'back');
  t.deepEqual(await read('blog'), ['blog/web/0@node-1 back'], 'those that are there are meant');
});

test('a node that does not answer is named once, and hides nothing of the others', async t => {
  const drivers = { 'node-1': new FakeDriver({ clock }), 'node-2': new FakeDriver({ clock }) };
  t.teardown(() => Promise.all(Object.values(drivers).map(driver => driver.close())));
  drivers['node-2'].output = broken;
  const { client, own } = await cluster(t, drivers);
  await own('blog/web/0', 'node-1');
  await own('blog/web/1', 'node-2');
  await drivers['node-1'].start(launch({ unit: 'a' }));
  drivers['node-1'].print('a', 'stdout', 'fine');
  const lines: LogLine[] = [];
  for await (const line of client.logs('blog')) lines.push(line);
  t.deepEqual(lines.map(({ node }) => node).sort(), ['node-1', 'node-2']);
  t.regex(lines.find(({ node }) => node === 'node-2')?.text ?? '', /^\(no output from node-2: /);
});

async function* broken(): AsyncGenerator<never> {
  throw new Error('the disk is gone');
}
