import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { apiClient } from '../api/client.ts';
import { DEV_STATE_DIR, type DevOptions, type DevOrder } from '../cli/daemon.ts';
import { processIo } from '../cli/process-io.ts';
import { runCli } from '../cli/program.ts';
import { ProxyLoop } from '../agent/proxy-loop.ts';
import { systemClock } from '../platform/clock.ts';
import { systemHost } from '../platform/host.ts';
import { winstonLog } from '../platform/log.ts';
import { keepEtcd } from '../platform/kept-etcd.ts';
import { portHolder } from '../platform/port-holder.ts';
import { systemRandom } from '../platform/random.ts';
import { LOCK_FILE } from '../platform/state-lock.ts';
import { findTool } from '../platform/tools.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { haproxy } from '../proxy/haproxy.ts';
import { openStore } from '../store/open-store.ts';
import { endLeftovers, requireApiPorts, runnableHere } from './dev-machine.ts';
import { giveOrder, listenForOrders } from './dev-orders.ts';
import { DevNode } from './dev-node.ts';
import { lockState } from './lock-state.ts';
import { tryNext } from './try-next.ts';
import { VERSION } from './version.ts';

type Start = Extract<DevOrder, { kind: 'start' }>;

const CLUSTER = 'dev';
const ETCD_PORTS: [number, number] = [23790, 23990];
/**
 * Ports for the instances of each node: apart, so that nodes that share a machine do not race for them, and below
 * those that the kernel gives to outgoing connections (from 32768): one of these could meet itself at a dead port.
 */
const PORTS_PER_NODE = 150;
const FIRST_APP_PORT = 25_000;
/** So many nodes share a machine's processors while they start: each has its time to become ready. */
const STARTED_TOGETHER = 8;
const MARKER = 'hop3-dev';
const SECOND_CLUSTER =
  '"hop3-agent dev --stop" ends a development cluster; ' +
  'a second one needs a --state-dir, --api-port and --proxy-port of its own';

/** A whole cluster on this machine, until the signal aborts; or one order to such a cluster. */
export async function devCluster(options: DevOptions, signal: AbortSignal): Promise<number> {
  const { order, stateDir } = options;
  if (order.kind !== 'start') {
    process.stdout.write(`${await giveOrder(stateDir, order)}\n`);
    return 0;
  }
  const log = winstonLog({ level: 'warn', format: 'text' });
  const closers: (() => Promise<void>)[] = [];
  const end = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) await close();
  };
  try {
    return await start(order, stateDir, { signal, log, closers });
  } finally {
    await end();
  }
}

async function start(
  order: Start,
  stateDir: string,
  { signal, log, closers }: { signal: AbortSignal; log: Log; closers: (() => Promise<void>)[] },
): Promise<number> {
  const clock = systemClock();
  const isOfCluster = await isThere(join(stateDir, MARKER));
  const lock = await lockState(stateDir, SECOND_CLUSTER);
  closers.push(() => lock.release());
  await mkdir(join(stateDir, MARKER), { recursive: true });
  const names = Array.from({ length: order.nodes }, (_, index) => `node-${index + 1}`);
  await endLeftovers(stateDir, names, clock);
  await requireApiPorts(names, order.apiPort);
  // Not before it is known that no cluster has it: nor what no cluster has ever had.
  if (order.fresh && isOfCluster) await forget(stateDir);

  say('looking for etcd and HAProxy');
  const etcdTool = await findTool({ name: 'etcd', stateDir, log: spoken(log), env: process.env, signal });
  const haproxyTool = await findTool({
    name: 'haproxy',
    stateDir,
    log: spoken(log),
    env: process.env,
    signal,
  });
  const host = systemHost({ name: 'dev' });
  const clientPort = await host.freePort('127.0.0.1', ETCD_PORTS, new Set());
  const peerPort = await host.freePort('127.0.0.1', ETCD_PORTS, new Set([clientPort]));
  say(
    `starting etcd ${etcdTool.version} on port ${clientPort}, and HAProxy ${haproxyTool.version} on port ${order.proxyPort}`,
  );
  const etcd = await keepEtcd({
    binary: etcdTool.path,
    stateDir,
    clientPort,
    peerPort,
    clock,
    log,
    signal,
  });
  closers.push(async () => {
    await etcd.stop();
    say('stopped');
  });

  await startProxy(order, stateDir, { clock, log, closers, etcd: etcd.endpoint, binary: haproxyTool.path });

  const nodes = names.map((name, index) => {
    const firstPort = FIRST_APP_PORT + index * PORTS_PER_NODE;
    return new DevNode({
      name,
      cluster: CLUSTER,
      stateDir: join(stateDir, name),
      etcd: etcd.endpoint,
      apiPort: order.apiPort + index,
      address: `127.0.0.${index + 1}`,
      portRange: [firstPort, firstPort + PORTS_PER_NODE - 1],
      leaseTtlSeconds: order.leaseTtlSeconds,
      logLevel: order.logLevel,
      clock,
      log,
      say,
    });
  });
  closers.push(async () => {
    say('stopping the nodes and their apps');
    await Promise.all(nodes.map(node => node.leave()));
  });
  for (let first = 0; first < nodes.length && !signal.aborted; first += STARTED_TOGETHER) {
    const some = nodes.slice(first, first + STARTED_TOGETHER);
    say(`starting ${some.map(node => node.name).join(', ')}`);
    await Promise.all(some.map(node => node.start()));
    await Promise.all(some.map(node => node.ready(signal)));
  }
  await allTogether(nodes, clock, signal);

  const api = nodes[0]?.url ?? '';
  const stopped = new AbortController();
  const orders = await listenForOrders(stateDir, async asked => {
    if (asked.kind === 'stop') {
      stopped.abort();
      return 'stopping';
    }
    const node = nodes.find(candidate => candidate.name === asked.node);
    if (!node)
      throw new Error(`there is no node "${asked.node}" here: ${nodes.map(({ name }) => name).join(', ')}`);
    return asked.kind === 'kill-node' ? node.kill() : node.startAgain();
  });
  closers.push(orders);

  const { files, leftOut } = await runnableHere(order.files, process.env['PATH']);
  leftOut.forEach(say);
  if (files.length > 0) {
    const code = await command(['apply', '--wait', ...files], api);
    if (code !== 0 && !signal.aborted)
      say(`the apps are not all up (exit code ${code}); the cluster goes on`);
  }
  if (!signal.aborted) await tell(order, stateDir, api);
  await aborted(AbortSignal.any([signal, stopped.signal]));
  return stopped.signal.aborted ? 0 : 130;
}

/** The proxy is fed from here, not by a node: so that killing any node is a fair test. */
async function startProxy(
  order: Start,
  stateDir: string,
  {
    clock,
    log,
    closers,
    etcd,
    binary,
  }: { clock: Clock; log: Log; closers: (() => Promise<void>)[]; etcd: string; binary: string },
): Promise<void> {
  const store = openStore({ endpoints: [etcd], cluster: CLUSTER, clock, log, random: systemRandom() });
  closers.push(() => store.close());
  const world = {
    apps: store.mirror('apps'),
    owners: store.mirror('owners'),
    promises: store.mirror('promises'),
    sessions: store.mirror('sessions'),
  };
  closers.push(() => {
    for (const mirror of Object.values(world)) mirror.close();
    return Promise.resolve();
  });
  const config = { host: '127.0.0.1', port: order.proxyPort, backends: 32, slots: 16 };
  const proxy = haproxy({ binary, stateDir, config, clock, log, portHolder });
  await proxy.start();
  closers.push(() => proxy.stop());
  const stale = {
    refused: ({ subject, by }: { subject: string; by: string }) =>
      log.info('nothing is sent to a copy that is not owned any more', { subject, by }),
  };
  const loop = new ProxyLoop({ world, proxy, stale, clock, log });
  loop.start();
  closers.push(() => loop.stop());
}

/** Each node knows of all of them: the apps are spread over the whole cluster from the first one on. */
async function allTogether(nodes: DevNode[], clock: Clock, signal: AbortSignal): Promise<void> {
  for (const node of nodes) {
    while (!signal.aborted && (await node.knownNodes()) < nodes.length) await clock.sleep(30, signal);
  }
}

async function tell(order: Start, stateDir: string, api: string): Promise<void> {
  process.stdout.write('\n');
  await command(['nodes'], api);
  process.stdout.write('\n');
  await command(['status'], api);
  const { items: apps } = await apiClient({ url: api }).apps();
  const elsewhere = stateDir === resolve(DEV_STATE_DIR) ? null : stateDir;
  process.stdout.write(`\n${tryNext({ ...order, api, apps, stateDir: elsewhere })}`);
}

/** One command of the command line, printed here. */
function command(argv: string[], api: string): Promise<number> {
  const unavailable = (): Promise<number> => Promise.resolve(2);
  const daemon = {
    run: unavailable,
    dev: unavailable,
    clusterInit: () => Promise.reject(new Error('not here')),
    clusterJoin: () => Promise.reject(new Error('not here')),
    etcdDefects: () => Promise.resolve([]),
  };
  return runCli([...argv, '--api', api], processIo(VERSION, daemon));
}

/** Only what an earlier `dev` made is ever removed. */
/** All but the marker, and the lock, which is held. */
async function forget(stateDir: string): Promise<void> {
  const old = (await readdir(stateDir)).filter(name => name !== MARKER && name !== LOCK_FILE);
  await Promise.all(old.map(name => rm(join(stateDir, name), { recursive: true, force: true })));
}

function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

function spoken(log: Log): Log {
  return {
    ...log,
    info: message => say(message),
    warn: (message, fields) => log.warn(message, fields),
    error: (message, fields) => log.error(message, fields),
    debug: () => undefined,
    child: () => spoken(log),
  };
}

function say(text: string): void {
  process.stderr.write(`dev: ${text}\n`);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
