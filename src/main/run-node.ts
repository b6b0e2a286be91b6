import { mkdir } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { Agent } from '../agent/agent.ts';
import { FanOut } from '../agent/plans/fan-out.ts';
import { agentRoutes } from '../api/routes/agents.ts';
import { boltzmannRoutes } from '../api/routes/boltzmann.ts';
import { enrolmentRoutes } from '../api/routes/enrolment.ts';
import { planRoutes } from '../api/routes/plans.ts';
import { scheduleRoutes } from '../api/routes/schedules.ts';
import { startAdminApi } from '../api/server.ts';
import { BlobStore } from '../artifacts/blob-store.ts';
import { localArtifacts } from '../artifacts/local-artifacts.ts';
import { serveArtifacts } from '../artifacts/serve-artifacts.ts';
import { serveBlobs } from '../artifacts/serve-blobs.ts';
import { sharedBlobs } from '../artifacts/shared-blobs.ts';
import { enrolment, type EnrolmentOptions } from '../authority/enrolment.ts';
import type { RunOptions } from '../cli/daemon.ts';
import { CliFailure, EXIT } from '../cli/failure.ts';
import { drivers } from '../drivers/combined-driver.ts';
import { networkProber } from '../drivers/network-prober.ts';
import { leftByOther } from '../drivers/other-driver.ts';
import { processDriver, type ProcessDriver } from '../drivers/process-driver.ts';
import { rememberingExits } from '../drivers/remembered-exits.ts';
import { staticDriver } from '../drivers/static-driver.ts';
import { systemdDriver, type SystemdDriver } from '../drivers/systemd-driver.ts';
import type { AppSpec } from '../model/app-spec.ts';
import type { NodeConfig } from '../model/node-config.ts';
import { systemClock } from '../platform/clock.ts';
import { systemHost } from '../platform/host.ts';
import { fileState } from '../platform/local-state.ts';
import { defaultLogFormat, winstonLog } from '../platform/log.ts';
import { createMetrics } from '../platform/metrics.ts';
import { SharedPace } from '../platform/pace.ts';
import { httpPeers, listenForPeers, readPeerCredentials } from '../platform/peers.ts';
import { portHolder } from '../platform/port-holder.ts';
import { systemRandom } from '../platform/random.ts';
import { serviceManager } from '../platform/service-manager.ts';
import { findTool } from '../platform/tools.ts';
import type { Clock } from '../ports/clock.ts';
import { DriverError } from '../ports/driver.ts';
import type { Log } from '../ports/log.ts';
import type { Store } from '../ports/store.ts';
import { haproxy } from '../proxy/haproxy.ts';
import { openStore } from '../store/open-store.ts';
import { commandsDirectory } from './commands-directory.ts';
import { lockState } from './lock-state.ts';
import { clusterMembers } from './members.ts';
import {
  meteredDriver,
  meteredProber,
  meteredStepAgents,
  meteredStore,
  requestMeter,
  staleTokenMeter,
} from './metered.ts';
import { nodeConfiguration } from './node-configuration.ts';
import { nodeDoctor } from './node-doctor.ts';
import { etcdOf } from './node-etcd.ts';
import { nodeMetrics } from './node-metrics.ts';
import { nodeRpc } from './node-rpc.ts';
import { nodeStepAgents } from './node-step-agents.ts';
import { planMetrics } from './plan-metrics.ts';
import { VERSION } from './version.ts';

const ETCD_ASKED_AGAIN_MS = 5000;

/**
 * One node, until the signal aborts. SIGTERM hands over: apps run on, the next agent resumes the session (an
 * upgrade). SIGINT leaves: apps are stopped, and everything is released. An agent that left for good ends with 130, which
 * its unit does not start again.
 */
export async function runNode(options: RunOptions, signal: AbortSignal): Promise<number> {
  let interrupted = false;
  const onInterrupt = (): void => {
    // Whoever asks twice gets the end at once, but not by the status that says that all was left behind in order.
    if (interrupted) process.exit(EXIT.failed);
    interrupted = true;
  };
  // Before whoever ends the process at the second signal.
  process.prependListener('SIGINT', onInterrupt);
  try {
    return await serve(await nodeConfiguration(options, process.env), signal, () => interrupted);
  } finally {
    process.off('SIGINT', onInterrupt);
  }
}

async function serve(config: NodeConfig, signal: AbortSignal, interrupted: () => boolean): Promise<number> {
  const clock = systemClock();
  const random = systemRandom();
  const log = winstonLog({
    level: config.logLevel,
    format: defaultLogFormat(process.env, process.stderr.isTTY),
    fields: { node: config.name },
  });
  const { stateDir } = config;
  const manager = serviceManager({ env: process.env, pid: process.pid, clock, log });
  // An agent that is told to leave while it starts goes on and then leaves: what the one before it ran has to be stopped.
  const starting = new AbortController();
  signal.addEventListener('abort', () => (interrupted() ? undefined : starting.abort(signal.reason)));
  if (signal.aborted) starting.abort(signal.reason);
  await mkdir(stateDir, { recursive: true });
  // In reverse order, whatever had been started when something went wrong.
  const closers: (() => Promise<void>)[] = [() => manager.close()];
  try {
    const lock = await lockState(stateDir, null);
    closers.push(() => lock.release());
    const etcd = await etcdOf(config, { clock, log, signal: starting.signal });
    closers.push(() => (interrupted() ? etcd.stop() : etcd.leave()));
    const metrics = createMetrics();
    const store = meteredStore(
      openStore({
        endpoints: etcd.endpoints,
        cluster: config.cluster,
        tls: etcd.tls,
        ...(etcd.username === null ? {} : { username: etcd.username }),
        ...(etcd.password === null ? {} : { password: etcd.password }),
        clock,
        log,
        random,
      }),
      metrics,
      clock,
    );
    closers.push(() => store.close());
    const processes = commandDriver(config, { clock, log });
    const ownCommands = processDriver({ stateDir: commandsDirectory(stateDir), clock, log });
    const driver = meteredDriver(
      drivers({ process: processes, static: await staticDriver({ stateDir, clock, log }) }),
      metrics,
    );
    const members = clusterMembers(store, { cluster: config.cluster, clock });
    const peerTls = config.peer.tls === null ? null : await readPeerCredentials(config.peer.tls);
    const artifacts = localArtifacts({ stateDir, clock, log, peerTls });
    const blobStore = new BlobStore(stateDir, clock);
    const peers = members.reachable;
    const blobs = sharedBlobs({ node: config.name, local: blobStore, peers, tls: peerTls, clock, log });
    const peer = await orWhoHasThePort(config.peer.port, 'peer', () =>
      listenForPeers({
        host: config.peer.host,
        port: config.peer.port,
        tls: peerTls,
        isMember: members.isMember,
        driver,
        artifacts: serveBlobs(blobStore, serveArtifacts(artifacts)),
      }),
    );
    closers.push(() => peer.close());
    const guardMissing = await ownCommands.guard.unable();
    const steps = await nodeStepAgents({
      config,
      namespaces: guardMissing === null,
      apps: {
        enter: (app, ending) => agent.places.enter(app, ending),
        isForOthers: app => agent.places.isForOthers(app),
      },
      blobs,
      clock,
      log,
    });
    closers.push(() => steps.close());
    const withProxy = config.roles.includes('proxy');
    const proxy = withProxy
      ? haproxy({
          binary: (
            await findTool({ name: 'haproxy', stateDir, log, env: process.env, signal: starting.signal })
          ).path,
          stateDir,
          config: config.proxy,
          clock,
          log,
          portHolder,
        })
      : null;
    const left = new AbortController();
    let leaveFailure: unknown = null;
    if (proxy) closers.push(async () => (interrupted() || left.signal.aborted ? proxy.stop() : undefined));
    const enforceable = await processes.limitsEnforceable();
    const agent = new Agent({
      config,
      version: VERSION,
      user: userInfo().username,
      adminUrl: urlOf(config.admin),
      peer: { host: peer.host, port: peer.port },
      clock,
      random,
      log,
      store,
      state: fileState({ stateDir, log }),
      host: systemHost({ name: config.name }),
      driver,
      guard: processes.guard,
      guardMissing: await processes.guard.unable(),
      commands: {
        driver: rememberingExits(ownCommands, join(commandsDirectory(stateDir), 'exits')),
        guard: ownCommands.guard,
        guardMissing,
      },
      stepAgents: meteredStepAgents(steps.roster, metrics, clock),
      ...('userOf' in processes
        ? { userOf: (app, own, release) => processes.userOf(app, own, release) }
        : {}),
      blobs,
      prober: meteredProber(networkProber({ clock }), metrics),
      artifacts,
      peers: httpPeers({ tls: peerTls }),
      unableTo: spec => unenforceable(spec, enforceable),
      proxy,
      doctor: () => nodeDoctor({ config, store, processes, log }),
      metrics: () => metrics.text(),
      onStaleToken: staleTokenMeter(metrics),
      onLeft: error => {
        leaveFailure = error;
        left.abort(new Error('asked to leave'));
      },
    });
    nodeMetrics(metrics, { admin: agent.admin, eventBacklog: () => agent.eventBacklog() });
    const feeds = new FanOut({ plans: agent.plans, pace: new SharedPace(clock) });
    planMetrics(metrics, agent, feeds);
    // Before the agent takes anything on: a node that can't be asked must not run apps.
    const api = await orWhoHasThePort(config.admin.port, 'admin', () =>
      startAdminApi({
        admin: agent.admin,
        listen: config.admin,
        socket: config.admin.socket,
        tokens: config.admin.tokens,
        log,
        clock,
        extraRoutes: [
          ...agentRoutes(agent.names, agent.admin),
          ...planRoutes(agent.plans, feeds),
          ...scheduleRoutes(agent.plans),
          ...boltzmannRoutes(agent.plans),
          ...enrolmentRoutes(
            enrolment({
              node: config.name,
              cluster: config.cluster,
              authorityDirectory: config.authority ?? null,
              etcd: etcdForOthers(config),
              store,
              clock,
              log,
            }),
          ),
        ],
        onRequest: requestMeter(metrics),
      }),
    );
    closers.push(() => api.close());
    const rpc = await nodeRpc(
      config,
      { agent, feeds, blobs, roster: steps.roster, metrics, clock, random, log },
      listen => orWhoHasThePort(config.rpc?.port ?? 0, 'rpc', listen),
    );
    closers.push(async () => rpc?.close());
    await agent.start();
    const ending = AbortSignal.any([signal, left.signal]);
    const telling = tellOfEtcd(store, { log, clock, signal: ending });
    log.info('the agent is up', { version: VERSION, admin: api.url, etcd: etcd.endpoints });
    await manager.ready(() => agent.stuckLoop());
    await aborted(ending);
    // Of a handover only: to systemd a service that says so is not active any more, and its time to stop is short.
    if (!interrupted() && !left.signal.aborted) await manager.stopping();
    log.info(interrupted() ? 'leaving the cluster' : 'handing over to the next agent');
    rpc?.drain();
    if (!left.signal.aborted) await (interrupted() ? agent.leave() : agent.stop());
    await telling;
    if (leaveFailure !== null) throw leaveFailure as Error;
    return left.signal.aborted || interrupted() ? EXIT.interrupted : EXIT.ok;
  } catch (error) {
    if (!signal.aborted) throw error;
    // Not by the status of a command that was interrupted: of an agent it says that all was left behind in order.
    log.error('the agent could not end in order', { error });
    return EXIT.failed;
  } finally {
    for (const close of closers.reverse()) await close();
  }
}

/** @throws CliFailure when the driver asked for can't run anything here, or another's units may live */
function commandDriver(
  { driver, stateDir }: NodeConfig,
  parts: { clock: Clock; log: Log },
): ProcessDriver | SystemdDriver {
  const left = leftByOther(stateDir, driver);
  if (left.units.length > 0) {
    throw new CliFailure(
      EXIT.conflict,
      `what the ${left.driver} driver started here may still run, and the ${driver} driver can't look after it: ` +
        left.units.join(', '),
      {
        hint:
          `start the agent with driver: ${left.driver} again and end it with SIGINT, which stops its apps; ` +
          'then change the driver',
      },
    );
  }
  if (driver === 'process') return processDriver({ stateDir, ...parts });
  try {
    return systemdDriver({ stateDir, ...parts });
  } catch (error) {
    if (!(error instanceof DriverError)) throw error;
    throw new CliFailure(EXIT.failed, error.message, { hint: 'driver: process runs anywhere', cause: error });
  }
}

/** What a node that is enrolled here is told of etcd. */
function etcdForOthers({ etcd }: NodeConfig): EnrolmentOptions['etcd'] {
  if (etcd.kind === 'managed') return null;
  const { endpoints, tls, username } = etcd;
  return { endpoints, caFile: tls?.ca ?? null, asksForPassword: username !== null };
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

function urlOf({ host, port, tls }: NodeConfig['admin']): string {
  return `${tls === null ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** @throws CliFailure naming the process that listens there already */
async function orWhoHasThePort<T>(
  port: number,
  listener: 'admin' | 'rpc' | 'peer',
  listen: () => Promise<T>,
): Promise<T> {
  try {
    return await listen();
  } catch (error) {
    const cause = error instanceof Error ? (error.cause as NodeJS.ErrnoException | undefined) : undefined;
    if (cause?.code !== 'EADDRINUSE') throw error;
    const holder = (await portHolder(port)) ?? 'another program';
    throw new CliFailure(EXIT.failed, `port ${port} (${listener}.listen) is taken by ${holder}`, {
      hint: `end that, or choose another with --${listener} HOST:PORT`,
      cause: error,
    });
  }
}

/** Once, as soon as etcd answers: which known defects of it this cluster has to live with. */
async function tellOfEtcd(
  store: Pick<Store, 'describe'>,
  { log, clock, signal }: { log: Log; clock: Clock; signal: AbortSignal },
): Promise<void> {
  for (let told = false; !signal.aborted; told = true) {
    const { endpoints, knownDefects } = await store.describe();
    if (endpoints.some(({ reachable }) => reachable)) {
      if (knownDefects.length > 0) log.warn('the etcd in use has known defects', { knownDefects });
      return;
    }
    if (!told) log.warn('etcd does not answer yet; waiting for it', { endpoints });
    await clock.sleep(ETCD_ASKED_AGAIN_MS, signal);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
