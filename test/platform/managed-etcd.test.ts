import test, { type ExecutionContext } from 'ava';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/platform/clock.ts';
import {
  ManagedEtcdError,
  startManagedEtcd,
  type ManagedEtcd,
  type ManagedEtcdOptions,
} from '../../src/platform/managed-etcd.ts';
import { isAlive, processAt } from '../../src/platform/processes.ts';
import { findOnPath } from '../../src/platform/tools.ts';
import { FakeLog } from '../support/fake-log.ts';
import { freePort } from '../support/free-port.ts';
import { until } from '../support/until.ts';

const clock = systemClock();

async function place(t: ExecutionContext): Promise<ManagedEtcdOptions> {
  const stateDir = await mkdtemp(join(tmpdir(), 'hop3-etcd-'));
  t.teardown(() => rm(stateDir, { recursive: true, force: true }));
  const binary = await findOnPath('etcd', process.env['PATH']);
  return {
    binary: binary!,
    stateDir,
    clientPort: await freePort(),
    peerPort: await freePort(),
    clock,
    log: new FakeLog(),
  };
}

async function started(t: ExecutionContext, options: ManagedEtcdOptions): Promise<ManagedEtcd> {
  const etcd = await startManagedEtcd(options);
  t.teardown(() => etcd.stop());
  return etcd;
}

async function put(endpoint: string, key: string, value: string): Promise<void> {
  await ask(endpoint, 'put', { key: btoa(key), value: btoa(value) });
}

async function read(endpoint: string, key: string): Promise<string | undefined> {
  const { kvs } = await ask<{ kvs?: { value: string }[] }>(endpoint, 'range', { key: btoa(key) });
  return kvs?.map(entry => atob(entry.value))[0];
}

/** An etcd whose disk is slow answers for a while that it had no time. */
function ask<T>(endpoint: string, what: string, question: object): Promise<T> {
  return until(`etcd answers a ${what}`, async () => {
    const response = await fetch(`${endpoint}/v3/kv/${what}`, {
      method: 'POST',
      body: JSON.stringify(question),
    });
    return response.ok ? ((await response.json()) as T) : undefined;
  });
}

test('it answers on loopback once started, in a session of its own, and is gone once stopped', async t => {
  const etcd = await started(t, await place(t));
  t.false(etcd.adopted);
  await put(etcd.endpoint, 'a', '1');
  t.is(await read(etcd.endpoint, 'a'), '1');
  const id = processAt(etcd.pid);
  await etcd.stop();
  t.false(await isAlive(id));
  await etcd.stop();
});

test('the next agent finds it running and leaves it as it is; data survive a stop', async t => {
  const options = await place(t);
  const first = await started(t, options);
  await put(first.endpoint, 'a', '1');
  first.leave();

  const second = await started(t, options);
  t.true(second.adopted);
  t.is(second.pid, first.pid);
  await second.stop();

  const third = await started(t, options);
  t.false(third.adopted);
  t.is(await read(third.endpoint, 'a'), '1');
});

test('one found on other ports than configured is ended and started anew', async t => {
  const options = await place(t);
  const first = await started(t, options);
  await put(first.endpoint, 'a', '1');
  first.leave();
  const second = await started(t, { ...options, clientPort: await freePort(), peerPort: await freePort() });
  t.false(second.adopted);
  t.not(second.endpoint, first.endpoint);
  t.is(await read(second.endpoint, 'a'), '1');
});

for (const adopted of [false, true]) {
  test(`the end of an etcd that was ${adopted ? 'found running' : 'started'} is told, with its last words`, async t => {
    const options = await place(t);
    if (adopted) (await started(t, options)).leave();
    let tell: (reason: string) => void = () => undefined;
    const told = new Promise<string>(resolve => (tell = resolve));
    const etcd = await started(t, { ...options, onExit: reason => tell(reason) });
    t.is(etcd.adopted, adopted);
    process.kill(etcd.pid, 'SIGKILL');
    t.regex(await told, /^etcd \(process \d+\) ended; its last words: /);
  });
}

test('a taken port is refused with the name of who has it', async t => {
  const options = await place(t);
  const server = createServer().listen(options.peerPort, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const error = await t.throwsAsync(startManagedEtcd(options), { instanceOf: ManagedEtcdError });
  t.regex(
    error.message,
    new RegExp(`port ${options.peerPort}, .* peer port, is taken by process ${process.pid} `),
  );
  t.true(error.retryable);
});

test('a state directory that cannot hold its data is named', async t => {
  const options = await place(t);
  await writeFile(join(options.stateDir, 'etcd'), 'a file where the directory should be');
  await t.throwsAsync(startManagedEtcd(options), {
    instanceOf: ManagedEtcdError,
    message: /^cannot make .*\/etcd for etcd: /,
  });
});

test('a program that is not etcd is named', async t => {
  const options = await place(t);
  const error = await t.throwsAsync(startManagedEtcd({ ...options, binary: '/bin/true' }), {
    instanceOf: ManagedEtcdError,
  });
  t.regex(error.message, /cannot run \/bin\/true: .* does not look like etcd/);
});

test('waiting is given up when asked; a first start cut short does not spoil the next', async t => {
  const options = await place(t);
  for (const delayMs of [0, 10, 30]) {
    const signal = AbortSignal.timeout(delayMs);
    await t.throwsAsync(startManagedEtcd({ ...options, signal }), { message: /given up/ });
  }
  const again = await started(t, options);
  t.false(again.adopted);
});

test('one that ends as soon as it has begun is told with what it said', async t => {
  const options = await place(t);
  const binary = join(options.stateDir, 'etcd.sh');
  const script =
    '#!/bin/sh\n[ "$1" = --version ] && exec echo "etcd Version: 3.5.30"\necho wal: crc mismatch\n';
  await writeFile(binary, script, { mode: 0o755 });
  for (let count = 0; count < 10; count++) {
    const error = await t.throwsAsync(startManagedEtcd({ ...options, binary }));
    t.regex(error.message, /ended before it was healthy: the data in .* is damaged/);
  }
});
