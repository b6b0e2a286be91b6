import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { mkdir } from 'node:fs/promises';
import { createServer, isIP, SocketAddress } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ProxyConfig } from '../model/node-config.ts';
import type { Pool } from '../model/traffic.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Proxy, ProxyReport } from '../ports/proxy.ts';
import { renderFiles, type Settings } from './config.ts';
import { connectionsMax, lastOutput, limitOutput, socketPath, workerUser, writeFiles } from './files.ts';
import { plan } from './plan.ts';
import { endAll, kill, launch, masterOf, processesOf } from './processes.ts';
import { askInfo, askState, perform, ProxyError, type ProcessInfo } from './runtime.ts';
import { emptyState, grown, performed, type ProxyState } from './state.ts';

const START_DEADLINE_MS = 10_000;
const RELOAD_DEADLINE_MS = 15_000;
const POLL_MS = 20;
/** A program that is just being executed has no arguments to be known by for a moment. */
const GONE_MS = 500;
const STOP_GRACE_MS = 5_000;
const OUTPUT_CHECK_MS = 60_000;

/**
 * A host that is gone without a word answers nothing, not even with a reset: requests on their way to it would hang until
 * `timeout server` and end with 504. Given up before, those that may be repeated go to another instance. An app that reads
 * nothing of an upload counts as well, as soon as the kernel holds no more of it: a worker that is busy with something else
 * for as long as Gunicorn allows by default.
 */
const UNACKNOWLEDGED_MS = 30_000;

export interface HaproxyOptions {
  /** Absolute path of HAProxy 2.4 or newer. */
  binary: string;
  /** Configuration, maps, runtime socket and output are kept in `proxy/` below it. */
  stateDir: string;
  config: ProxyConfig;
  clock: Clock;
  log: Log;
  /** For tests that can't wait as long as it takes to give up a host that is gone without a word. */
  unacknowledgedMs?: number;
  /** Who listens on a port of this machine, in words; null = nobody to be seen. */
  portHolder?: (port: number) => Promise<string | null>;
}

/**
 * HAProxy in a session of its own, changed through its runtime API. It survives the agent; one made anew on the same
 * state directory finds it, and reads from it what it does. Should it have died, `apply` starts it again.
 *
 * Health checks of HAProxy's own are TCP connects, whatever a pool's `checkPath` says: the path of an HTTP check can't
 * be changed without a reload, and readiness is judged by the agents.
 */
export function haproxy(options: HaproxyOptions): Proxy {
  const runner = new HaproxyRunner(options);
  let last: Promise<unknown> = Promise.resolve();
  /** One at a time: two rounds at once would read the same state and change it twice. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const result = last.then(work, work);
    last = result.catch(() => undefined);
    return result;
  };
  return {
    start: () => inTurn(() => runner.start()),
    apply: pools => inTurn(() => runner.apply(pools)),
    stop: () => inTurn(() => runner.stop()),
  };
}

class HaproxyRunner {
  private readonly options: HaproxyOptions;
  private readonly directory: string;
  private readonly configFile: string;
  private readonly outputFile: string;
  /** null until `start`. */
  private settings: Settings | null = null;
  private outputCheckedMs = -Infinity;

  constructor(options: HaproxyOptions) {
    this.options = options;
    this.directory = join(options.stateDir, 'proxy');
    this.configFile = join(this.directory, 'haproxy.cfg');
    this.outputFile = join(this.directory, 'output.log');
  }

  async start(): Promise<void> {
    const { config, log } = this.options;
    await mkdir(this.directory, { recursive: true, mode: 0o700 });
    const settings: Settings = {
      listen: { host: config.host, port: config.port },
      socket: await socketPath(this.directory),
      // Twice what is prepared: a pool that grows later is checked, too.
      connectionsMax: await connectionsMax(2 * config.backends * config.slots),
      user: await workerUser(),
      unacknowledgedMs: this.options.unacknowledgedMs ?? UNACKNOWLEDGED_MS,
    };
    this.settings = settings;
    const running = await this.running(settings);
    if (running === null) {
      await this.startWith(emptyState(config.backends, config.slots), settings);
      return;
    }
    const state = await askState(settings.socket);
    const wanted = grown(state, config.backends, config.slots);
    if (running.identity === identityOf(settings) && isSameSize(state, wanted)) {
      log.info('proxy found running', { pid: running.pid, port: config.port });
      return;
    }
    await this.reloadWith(wanted, settings, running, 'its settings changed');
  }

  async apply(pools: Pool[]): Promise<ProxyReport> {
    const settings = this.settings;
    if (settings === null) throw new ProxyError('the proxy was not started', { retryable: false });
    const addressed = await Promise.all(pools.map(withAddresses));
    await this.limitOutput();
    const running = await this.running(settings);
    if (running === null) return this.restart(addressed, settings);

    let reloaded = false;
    let state = await askState(settings.socket);
    const enough = withRoom(addressed, state);
    if (enough.reason !== null) {
      const before = enough.state;
      await this.reloadWith(before, settings, running, enough.reason);
      state = await askState(settings.socket);
      reloaded = true;
    }
    const next = plan(addressed, state);
    if (next.kind === 'grow') throw new ProxyError(`after its reload ${next.reason}`, { retryable: true });
    for (const command of next.commands) {
      this.options.log.debug('changing the proxy', { ...command });
      await perform(settings.socket, command);
    }
    return { commands: next.commands.length, reloaded };
  }

  async stop(): Promise<void> {
    this.settings = null;
    await endAll(this.configFile, STOP_GRACE_MS, this.options.clock);
  }

  /** Starts a proxy that has died with everything in place, so that nobody meets one that knows no apps. */
  private async restart(pools: Pool[], settings: Settings): Promise<ProxyReport> {
    const { config, log } = this.options;
    log.warn('the proxy is not running: starting it again', { port: config.port });
    const { state } = withRoom(pools, emptyState(config.backends, config.slots));
    const next = plan(pools, state);
    const commands = next.kind === 'commands' ? next.commands : [];
    await this.startWith(commands.reduce(performed, state), settings);
    return { commands: 0, reloaded: false };
  }

  /** null when nobody answers at the socket. @throws ProxyError when something runs but does not answer as it should */
  private async running(settings: Settings): Promise<ProcessInfo | null> {
    try {
      return await askInfo(settings.socket);
    } catch (error) {
      const code = ((error as Error).cause as NodeJS.ErrnoException | undefined)?.code;
      if (code === 'ENOENT' || code === 'ECONNREFUSED') return null;
      throw error;
    }
  }

  private async startWith(state: ProxyState, settings: Settings): Promise<void> {
    const { binary, clock, config, log, portHolder } = this.options;
    // HAProxy shares its port with any other HAProxy of the same user: one left over without its socket must go first.
    await endAll(this.configFile, STOP_GRACE_MS, clock);
    await requireFree(config, portHolder);
    await this.writeConfig(state, settings);
    await launch(binary, this.configFile, this.outputFile);
    const info = await this.answering(settings, () => true, START_DEADLINE_MS);
    log.info('proxy started', { pid: info.pid, host: config.host, port: config.port });
  }

  private async reloadWith(
    state: ProxyState,
    settings: Settings,
    running: ProcessInfo,
    reason: string,
  ): Promise<void> {
    this.options.log.info('reloading the proxy', { reason });
    await this.writeConfig(state, settings);
    kill(await this.master(running), 'SIGUSR2');
    await this.answering(settings, info => info.pid !== running.pid, RELOAD_DEADLINE_MS);
  }

  private async master(running: ProcessInfo): Promise<number> {
    const { clock } = this.options;
    const endMs = clock.now() + GONE_MS;
    for (;;) {
      const found = masterOf(running.pid, await processesOf(this.configFile));
      if (found !== null) return found;
      if (clock.now() > endMs)
        throw new ProxyError('the master process of HAProxy is gone', { retryable: true });
      await clock.sleep(POLL_MS);
    }
  }

  private async writeConfig(state: ProxyState, settings: Settings): Promise<void> {
    const { binary } = this.options;
    await writeFiles(this.directory, renderFiles(state, settings, identityOf(settings)));
    try {
      await promisify(execFile)(binary, ['-c', '-q', '-f', this.configFile], { cwd: this.directory });
    } catch (error) {
      const said = (error as { stderr?: string }).stderr ?? '';
      const message = `${binary} can't use ${this.configFile}: ${said.trim() || (error as Error).message}`;
      throw new ProxyError(message, { retryable: false, cause: error });
    }
  }

  private async answering(
    settings: Settings,
    isIt: (info: ProcessInfo) => boolean,
    deadlineMs: number,
  ): Promise<ProcessInfo> {
    const { clock } = this.options;
    const endMs = clock.now() + deadlineMs;
    let goneSinceMs: number | null = null;
    while (clock.now() < endMs) {
      const info = await this.running(settings).catch(unlessCutOff);
      if (info !== null && info.identity === identityOf(settings) && isIt(info)) return info;
      const isThere = info !== null || (await processesOf(this.configFile)).length > 0;
      // Looked for at least twice: on a busy machine one look can take that long, and fall into that moment.
      goneSinceMs = isThere ? null : (goneSinceMs ?? clock.now());
      if (goneSinceMs !== null && clock.now() - goneSinceMs > GONE_MS) break;
      await clock.sleep(POLL_MS);
    }
    const said = (await lastOutput(this.outputFile, 3)).join(' | ');
    throw new ProxyError(`HAProxy did not come up; its last words: ${said}`, { retryable: true });
  }

  private async limitOutput(): Promise<void> {
    const nowMs = this.options.clock.now();
    if (nowMs - this.outputCheckedMs < OUTPUT_CHECK_MS) return;
    this.outputCheckedMs = nowMs;
    await limitOutput(this.outputFile);
  }
}

/** A worker that is being replaced closes its socket on who has just come to it. */
function unlessCutOff(error: Error): null {
  const code = (error.cause as NodeJS.ErrnoException | undefined)?.code;
  if (code === 'ECONNRESET' || code === 'EPIPE') return null;
  throw error;
}

/** Written into the configuration and read back from the process: whether it runs with these settings. */
function identityOf(settings: Settings): string {
  const shape = renderFiles(emptyState(1, 1), settings, '')['haproxy.cfg'];
  return `hop3-agent-${createHash('sha256').update(shape).digest('hex').slice(0, 16)}`;
}

function isSameSize(one: ProxyState, other: ProxyState): boolean {
  const size = (state: ProxyState) => state.backends.reduce((sum, { slots }) => sum + slots.length, 0);
  return one.backends.length === other.backends.length && size(one) === size(other);
}

/** The state with as many backends and slots as the pools need; the reason is null when it has them already. */
function withRoom(pools: Pool[], state: ProxyState): { state: ProxyState; reason: string | null } {
  let roomy = state;
  let reason: string | null = null;
  for (let next = plan(pools, roomy); next.kind === 'grow'; next = plan(pools, roomy)) {
    roomy = grown(roomy, next.backends, next.slots);
    reason = next.reason;
  }
  return { state: roomy, reason };
}

/** The runtime API takes addresses only, and says them in one way of writing. */
async function withAddresses(pool: Pool): Promise<Pool> {
  const servers = pool.servers.map(async server => {
    const { host, port } = server.endpoint;
    const address = isIP(host) === 0 ? (await lookup(host)).address : host;
    return { ...server, endpoint: { host: canonical(address), port } };
  });
  return { ...pool, servers: await Promise.all(servers) };
}

function canonical(address: string): string {
  return isIP(address) === 6 ? new SocketAddress({ address, family: 'ipv6' }).address : address;
}

async function requireFree(
  config: ProxyConfig,
  portHolder: HaproxyOptions['portHolder'] = () => Promise.resolve(null),
): Promise<void> {
  const host = config.host === '*' ? '0.0.0.0' : config.host;
  try {
    await new Promise<void>((resolve, reject) => {
      const server = createServer();
      server.once('error', reject);
      server.listen({ host, port: config.port, exclusive: true }, () => server.close(() => resolve()));
    });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    const holder = code === 'EADDRINUSE' ? await portHolder(config.port) : null;
    throw new ProxyError(`the proxy can't listen at ${host}:${config.port}: ${adviceFor(code, holder)}`, {
      retryable: code === 'EADDRINUSE',
      cause: error,
    });
  }
}

function adviceFor(code: string, holder: string | null): string {
  switch (code) {
    case 'EADDRINUSE':
      return `${holder ?? 'another program'} does; end that, or configure another proxy port`;
    case 'EACCES':
      return 'ports below 1024 are for root; configure a higher proxy port, or run the agent as root';
    case 'EADDRNOTAVAIL':
      return 'this machine has no such address; configure another proxy host';
    default:
      return code;
  }
}
