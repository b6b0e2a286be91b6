import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { spawn } from 'node:child_process';
import test, { type ExecutionContext } from 'ava';
import { startTcpProxy, type ProxyMode } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import { freeze, kill } from './faults.ts';
import { Network } from './network.ts';

/** Says back what it hears. */
async function echo(t: ExecutionContext): Promise<number> {
  const server = createServer(socket => {
    socket.on('error', () => socket.destroy());
    socket.on('data', bytes => socket.write(bytes));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function connected(t: ExecutionContext, port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => socket.destroy());
  t.teardown(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

const modes: [mode: ProxyMode, delayMs: number][] = [
  ['black-hole', 0],
  ['drop-replies', 0],
  ['drop-requests', 0],
  ['delay', 50],
];
for (const [mode, delayMs] of modes) {
  test(`a proxy tells what it withheld: ${mode}`, async t => {
    const proxy = await startTcpProxy(await echo(t));
    t.teardown(() => proxy.stop());
    await proxy.set(mode, delayMs);
    const socket = await connected(t, proxy.port);
    t.is(proxy.withheldBytes, 0);
    socket.write('hello');
    await until('it was noticed', () => proxy.withheldBytes === 5);
    await proxy.set('pass');
    t.is(proxy.withheldBytes, 0);
  });
}

test('a proxy that lets everything pass withheld nothing', async t => {
  const proxy = await startTcpProxy(await echo(t));
  t.teardown(() => proxy.stop());
  const socket = await connected(t, proxy.port);
  socket.write('hello');
  await once(socket, 'data');
  t.is(proxy.withheldBytes, 0);
});

test('a network tells the lost directions in which nobody said anything', async t => {
  const network = new Network();
  const target = await echo(t);
  const via = await network.portFor('a', () => 'b');
  const socket = await connected(t, via);
  t.teardown(async () => {
    socket.destroy();
    await network.close();
  });
  socket.write(`${target}\nhello`);
  await once(socket, 'data');
  network.lose('a', 'b');
  network.lose('b', 'a');
  t.deepEqual(network.unfelt(), ['a b', 'b a']);
  socket.write('hello');
  await until('one was noticed', () => network.unfelt().length === 1);
  t.deepEqual(network.unfelt(), ['b a']);
  network.heal();
  t.deepEqual(network.unfelt(), []);
});

test('what a lost connection held counts when it has ended', async t => {
  const network = new Network();
  const target = await echo(t);
  const via = await network.portFor('a', () => 'b');
  const socket = await connected(t, via);
  t.teardown(() => network.close());
  socket.write(`${target}\nhello`);
  await once(socket, 'data');
  network.lose('a', 'b');
  socket.write('hello');
  await until('it was noticed', () => network.unfelt().length === 0);
  socket.resetAndDestroy();
  await once(socket, 'close');
  t.deepEqual(network.unfelt(), []);
});

test('a process is frozen or killed, or there was none', async t => {
  const child = spawn('sleep', ['60']);
  t.teardown(() => child.kill('SIGKILL'));
  await once(child, 'spawn');
  await freeze([child.pid!]);
  const ended = once(child, 'exit');
  await kill([child.pid!]);
  await ended;
  await t.throwsAsync(freeze([child.pid!]), { message: 'there was nothing to freeze' });
  await t.throwsAsync(freeze([]), { message: 'there was nothing to freeze' });
  await t.throwsAsync(kill([]), { message: 'there is nothing to kill' });
});
