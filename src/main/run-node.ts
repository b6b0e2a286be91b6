import { mkdir, readFile } from 'node:fs/promises';
import { hostname, userInfo } from 'node:os';
import { join } from 'node:path';
import { Agent } from '../agent/agent.ts';
import { startAdminApi } from '../api/server.ts';
import { localArtifacts } from '../artifacts/local-artifacts.ts';
import { serveArtifacts } from '../artifacts/serve-artifacts.ts';
import type { RunOptions } from '../cli/daemon.ts';
import { drivers } from '../drivers/combined-driver.ts';
import { networkProber } from '../drivers/network-prober.ts';
import { processDriver } from '../drivers/process-driver.ts';
import { staticDriver } from '../drivers/static-driver.ts';
import { readNodeConfig } from '../manifest/node-config.ts';
import type { AppSpec } from '../model/app-spec.ts';
import type { NodeConfig } from '../model/node-config.ts';
import { problemText } from '../model/problem.ts';
import { systemClock } from '../platform/clock.ts';
import { systemHost } from '../platform/host.ts';
import { fileState } from '../platform/local-state.ts';
import { defaultLogFormat, winstonLog } from '../platform/log.ts';
import { createMetrics } from '../platform/metrics.ts';
import { httpPeers, listenForPeers } from '../platform/peers.ts';
import { systemRandom } from '../platform/random.ts';
import { lockStateDir } from '../platform/state-lock.ts';
import { findTool } from '../platform/tools.ts';
import { haproxy } from '../proxy/haproxy.ts';
import { openStore } from '../store/open-store.ts';
import { etcdOf } from './node-etcd.ts';
import { nodeDoctor } from './node-doctor.ts';
import { nodeMetrics } from './node-metrics.ts';
import { VERSION } from './version.ts';

const DEFAULT_CONFIG = '/etc/hop3/agent.yaml';

/**
 * One node, until the signal aborts. SIGTERM hands over: apps run on, the next agent resumes the session (an
 * upgrade). SIGINT leaves: apps are stopped, and everything is released.
 */
export async function runNode(options: RunOptions, signal: AbortSignal): Promise<number> {
  let interrupted = false;
  const onInterrupt = (): void => {
    interrupted = true;
  };
  process.on('SIGINT', onInterrupt);
  const config = await configuration(options);
  if (!config) return 1;
  try {
    await serve(config, signal, () => interrupted);
    return 0;
  } finally {
    process.off('SIGINT', onInterrupt);
  }
}

async function configuration({ configFile, flags }: RunOptions): Promise<NodeConfig | null> {
  const file = configFile ?? DEFAULT_CONFIG;
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    if (configFile === null && (error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new Error(`can't read the configuration ${file}: ${(error as Error).message}`, { cause: error });
  });
  const root = process.getuid?.() === 0;
  const stateDir = root ? '/var/lib/hop3-agent' : join(userInfo().homedir, '.local/state/hop3-agent');
  const facts = { hostname: hostname(), stateDir };
  const { config, problems } = readNodeConfig(text === null ? null : file, text, process.env, flags, facts);
  for (const problem of problems) process.stderr.write(`error: ${problemText(problem)}\n`);
  return config;
}

async function serve(config: NodeConfig, signal: AbortSignal, interrupted: () => boolean): Promise<void> {
  const clock = systemClock();
  const random = systemRandom();
  const log = winstonLog({
    level: config.logLevel,
    format: defaultLogFormat(process.env, process.stderr.isTTY),
    fields: { node: config.name },
  });
  const { stateDir } = config;
  await mkdir(stateDir, { recursive: true });
  // In reverse order, whatever had been started when something went wrong.
  const closers: (() => Promise<void>)[] = [];
  try {
    const lock = await lockStateDir(stateDir);
    closers.push(() => lock.release());
    const etcd = await etcdOf(config, { clock, log, signal });
    closers.push(() => (interrupted() ? etcd.stop() : etcd.leave()));
    const metrics = createMetrics();
    const store = openStore({
      endpoints: etcd.endpoints,
      cluster: config.cluster,
      tls: etcd.tls,
      ...(etcd.username === null ? {} : { username: etcd.username }),
      ...(etcd.password === null ? {} : { password: etcd.password }),
      clock,
      log,
      random,
    });
    const processes = processDriver({ stateDir, clock, log });
    const driver = drivers({
      process: processes,
      static: await staticDriver({ stateDir, clock, log }),
    });
    const artifacts = localArtifacts({ stateDir, clock, log });
    const peer = await listenForPeers({ ...config.peer, driver, artifacts: serveArtifacts(artifacts) });
    closers.push(() => peer.close());
    const withProxy = config.roles.includes('proxy');
    const proxy = withProxy
      ? haproxy({
          binary: (await findTool({ name: 'haproxy', stateDir, log, env: process.env, signal })).path,
          stateDir,
          config: config.proxy,
          clock,
          log,
        })
      : null;
    if (proxy) closers.push(() => (interrupted() ? proxy.stop() : Promise.resolve()));
    const enforceable = await processes.limitsEnforceable();
    const left = new AbortController();
    const agent = new Agent({
      config,
      version: VERSION,
      user: userInfo().username,
      adminUrl: `http://${config.admin.host}:${config.admin.port}`,
      peer: { host: peer.host, port: peer.port },
      clock,
      random,
      log,
      store,
      state: fileState({ stateDir, log }),
      host: systemHost({ name: config.name }),
      driver,
      prober: networkProber({ clock }),
      artifacts,
      peers: httpPeers(),
      unableTo: spec => unenforceable(spec, enforceable),
      proxy,
      doctor: () => nodeDoctor({ config, store, processes, log }),
      metrics: () => metrics.text(),
      onLeft: () => left.abort(new Error('asked to leave')),
    });
    nodeMetrics(metrics, agent.admin);
    await agent.start();
    const api = await startAdminApi({
      admin: agent.admin,
      listen: config.admin,
      socket: config.admin.socket,
      tokens: config.admin.tokens,
      log,
      clock,
    });
    log.info('the agent is up', { version: VERSION, admin: api.url, etcd: etcd.endpoints });
    await aborted(AbortSignal.any([signal, left.signal]));
    log.info(interrupted() ? 'leaving the cluster' : 'handing over to the next agent');
    if (left.signal.aborted) await api.close();
    else {
      if (interrupted()) await agent.leave();
      else await agent.stop();
      await api.close();
    }
  } finally {
    for (const close of closers.reverse()) await close();
  }
}

/** A declared limit is a guarantee: a node that can't hold an app to it does not take it. */
function unenforceable(
  spec: AppSpec,
  can: { memory: boolean; cpu: boolean; processes: boolean },
): string | null {
  const { memoryBytes, cpu, processes } = spec.limits;
  const missing = [
    ...(memoryBytes !== null && !can.memory ? ['memory'] : []),
    ...(cpu !== null && !can.cpu ? ['cpu'] : []),
    ...(processes !== null && !can.processes ? ['processes'] : []),
  ];
  return missing.length === 0
    ? null
    : `this node can't enforce the limits declared for ${missing.join(', ')}`;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
