import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { totalmem } from 'node:os';
import test from 'ava';

import { systemHost } from '../../src/platform/host.ts';
import { systemRandom } from '../../src/platform/random.ts';

test('the host says what it is', t => {
  const host = systemHost({ name: 'node-1' });
  t.is(host.name, 'node-1');
  t.is(host.pid, process.pid);
  t.is(host.bootId, readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim());
  t.regex(host.platform, /^linux-(x64|arm64)-node\d+$/);
  const { memoryBytes, cpu } = host.capacity();
  t.true(memoryBytes > 2 ** 26 && memoryBytes <= totalmem());
  t.true(cpu >= 1);
});

for (const listensAt of ['127.0.0.1', '0.0.0.0']) {
  test(`a port on which somebody listens at ${listensAt} is not given out`, async t => {
    const host = systemHost({ name: 'node-1' });
    const somebody = createServer().listen(0, listensAt);
    t.teardown(() => somebody.close());
    await once(somebody, 'listening');
    const { port } = somebody.address() as AddressInfo;
    const error = await t.throwsAsync(host.freePort('127.0.0.1', [port, port], new Set()));
    t.is(error.message, `no free port at 127.0.0.1 in ${port}-${port}: widen the port range`);
  });
}

test('a port is in the range, not taken, and not the last one again', async t => {
  const host = systemHost({ name: 'node-1' });
  const taken = new Set([18_101, 18_103]);
  const seen: number[] = [];
  for (let round = 0; round < 4; round++)
    seen.push(await host.freePort('127.0.0.1', [18_100, 18_109], taken));
  t.true(seen.every(port => port >= 18_100 && port <= 18_109 && !taken.has(port)));
  t.is(new Set(seen).size, 4);
});

test('a port that is given out can be listened on at once', async t => {
  const host = systemHost({ name: 'node-1' });
  for (let round = 0; round < 50; round++) {
    const port = await host.freePort('127.0.0.1', [18_200, 18_299], new Set());
    const server = createServer().listen(port, '0.0.0.0');
    t.teardown(() => server.close());
    await t.notThrowsAsync(once(server, 'listening'));
  }
});

test('an address that is not this host’s is an error that names it', async t => {
  const host = systemHost({ name: 'node-1' });
  await t.throwsAsync(host.freePort('192.0.2.1', [18_110, 18_119], new Set()), {
    message: /can't listen at 192\.0\.2\.1: .*EADDRNOTAVAIL/,
  });
});

const occupied: [string, string, string, boolean][] = [
  // Where, whom it is asked for, and whether it is in use for them.
  ['127.0.0.1', '127.0.0.1', 'the same address', true],
  ['0.0.0.0', '127.0.0.1', 'all of them', true],
  ['127.0.0.1', '127.0.0.9', 'another of the loopback network, of which a node has one', false],
];
for (const [listensAt, asked, what, expected] of occupied) {
  test(`a fixed port is ${expected ? '' : 'not '}in use for ${asked} when somebody listens at ${what}`, async t => {
    const host = systemHost({ name: 'node-1' });
    const somebody = createServer().listen(0, listensAt);
    t.teardown(() => somebody.close());
    await once(somebody, 'listening');
    const { port: number } = somebody.address() as AddressInfo;
    const why = await host.whyTaken(asked, { number, protocol: 'tcp' });
    if (expected)
      t.true(why?.startsWith(`port ${number}/tcp is in use by process ${process.pid} (`), why ?? '');
    else t.is(why, null);
    t.is(await host.whyTaken(asked, { number, protocol: 'udp' }), null);
  });
}

test('a fixed port of UDP is in use when somebody is bound to it, and free afterwards', async t => {
  const host = systemHost({ name: 'node-1' });
  const somebody = createSocket('udp4').bind(0, '127.0.0.1');
  await once(somebody, 'listening');
  const port = { number: somebody.address().port, protocol: 'udp' as const };
  t.is(await host.whyTaken('127.0.0.1', port), `port ${port.number}/udp is in use by another program`);
  await new Promise<void>(resolve => somebody.close(resolve));
  t.is(await host.whyTaken('127.0.0.1', port), null);
});

test('an address that nothing can listen at is said, not thrown', async t => {
  const why = await systemHost({ name: 'node-1' }).whyTaken('192.0.2.1', { number: 18_120, protocol: 'tcp' });
  t.is(why, 'nothing can listen on port 18120/tcp: EADDRNOTAVAIL');
});

test('chance has the shapes it should', t => {
  const random = systemRandom();
  for (let round = 0; round < 1000; round++) {
    const value = random.float();
    t.true(value >= 0 && value < 1);
  }
  t.regex(random.hex(16), /^[0-9a-f]{32}$/);
  t.is(random.hex(0), '');
  t.regex(random.uuid(), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  t.is(new Set(Array.from({ length: 100 }, () => random.uuid())).size, 100);
});
