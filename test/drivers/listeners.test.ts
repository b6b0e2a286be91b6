import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import test from 'ava';

import { listeners } from '../../src/drivers/listeners.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { temporaryDirectory } from './helpers.ts';

for (const host of ['127.0.0.1', '127.0.0.9', '::1', '::'])
  test(`who listens on ${host} is seen while they do, and a connection is no listener`, async t => {
    const clock = new FakeClock();
    const ports = listeners(clock);
    const server = createServer(socket => t.teardown(() => socket.destroy())).listen(0, host);
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    t.true(ports()?.has(port));
    const client = connect({ port, host: host === '::' ? '127.0.0.1' : host });
    t.teardown(() => client.destroy());
    await once(client, 'connect');
    server.close();
    await clock.advance(100);
    t.false(ports()?.has(port));
    t.false(ports()?.has(client.localPort!));
  });

test('one look does for those who ask at the same time', async t => {
  const clock = new FakeClock();
  const ports = listeners(clock);
  const first = ports();
  t.is(ports(), first);
  await clock.advance(100);
  t.not(ports(), first);
});

test('however many connections there are, no more is read than who listens', t => {
  const file = join(temporaryDirectory(t), 'tcp');
  const row = (port: number, state: string) =>
    `   0: 0100007F:${port.toString(16).toUpperCase().padStart(4, '0')} 00000000:0000 ${state} 00000000:00000000 00:00000000\n`;
  const before = Array.from({ length: 1000 }, (_, index) => row(2000 + index, '0A')).join('');
  const connections = Array.from({ length: 1000 }, (_, index) => row(4000 + index, '01')).join('');
  writeFileSync(file, `  sl  local_address rem_address   st\n${before}${connections}${row(5555, '0A')}`);
  const seen = listeners(new FakeClock(), [file])();
  t.is(seen?.size, 1000);
  t.true(seen?.has(2000) && seen.has(2999));
  t.false(seen?.has(5555));
});

test('where the kernel tells nothing, nothing is known', t => {
  t.is(listeners(new FakeClock(), ['/proc/net/not-there'])(), null);
});
