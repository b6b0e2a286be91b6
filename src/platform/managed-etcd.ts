import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { access, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import {
  clientUrlArgument,
  dataDirArgument,
  etcdArguments,
  etcdEnvironment,
  explainEtcdLog,
} from './etcd-command.ts';
import { lastLines, limitFile } from './output-file.ts';
import { portHolder } from './port-holder.ts';
import { endProcess, findProcess, isAlive, processAt, type ProcessId } from './processes.ts';
import { tools } from './tool.ts';
import { toolVersion } from './tool-version.ts';

const HEALTH_DEADLINE_MS = 30_000;
const HEALTH_POLL_MS = 50;
const HEALTH_ANSWER_MS = 2_000;
const WATCH_POLL_MS = 500;
const LOG_CHECK_MS = 60_000;
const LOG_BYTES_MAX = 8 * 1024 * 1024;
const STOP_GRACE_MS = 10_000;

export interface ManagedEtcdOptions {
  /** Absolute path of the etcd program. */
  binary: string;
  /** The data is kept in `etcd/` below it, the output in `etcd/output.log`. */
  stateDir: string;
  clientPort: number;
  peerPort: number;
  clock: Clock;
  log: Log;
  /** Called once when etcd ends without `stop` having been called. Starting it again is the caller's decision. */
  onExit?: (reason: string) => void;
  /** Gives up waiting for health; an etcd started by this call is ended. */
  signal?: AbortSignal;
}

export interface ManagedEtcd {
  endpoint: string;
  pid: number;
  /** True when it was found running with this data directory and left as it was. */
  adopted: boolean;
  /** Ends etcd and resolves when it is gone. */
  stop(): Promise<void>;
  /** Leaves etcd running and stops watching it: what an agent that ends for a restart does. */
  leave(): void;
}

/** etcd could not be made to answer. The message says what is wrong and what would help. */
export class ManagedEtcdError extends Error {
  readonly retryable: boolean;
  constructor(message: string, options: { retryable: boolean; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.name = 'ManagedEtcdError';
    this.retryable = options.retryable;
  }
}

/**
 * A single-member etcd on loopback, in a session of its own, so that it survives the agent; the next agent with the
 * same state directory finds it again by its data directory. Resolves once it answers as healthy.
 *
 * @throws ManagedEtcdError when a port is taken, the data cannot be used, or it is not healthy within 30 s
 */
export async function startManagedEtcd(options: ManagedEtcdOptions): Promise<ManagedEtcd> {
  const directory = join(options.stateDir, 'etcd');
  const dataDir = join(directory, 'data');
  const outputFile = join(directory, 'output.log');
  const provenFile = join(directory, 'proven');
  await mkdir(directory, { recursive: true, mode: 0o700 }).catch((error: unknown) => {
    const message = `cannot make ${directory} for etcd: ${(error as Error).message}`;
    throw new ManagedEtcdError(message, { retryable: false, cause: error });
  });

  const found = await adopt(options, dataDir);
  if (found === null) await setAsideUnproven(dataDir, provenFile);
  const running = found ?? (await launch(options, dataDir, outputFile));
  const endpoint = `http://127.0.0.1:${options.clientPort}`;
  try {
    await healthy(endpoint, running, outputFile, options);
  } catch (error) {
    if (found === null) await endProcess(running, STOP_GRACE_MS, options.clock);
    throw error;
  }
  await writeFile(provenFile, '');
  options.log.info(found === null ? 'etcd started' : 'etcd found running', {
    pid: running.pid,
    endpoint,
    dataDir,
  });

  const watch = watchProcess(running, outputFile, options);
  return {
    endpoint,
    pid: running.pid,
    adopted: found !== null,
    leave: () => watch.abort(),
    async stop() {
      watch.abort();
      await endProcess(running, STOP_GRACE_MS, options.clock);
    },
  };
}

/** The etcd that runs on this data directory, or null. One that listens elsewhere than wanted is ended first. */
async function adopt(options: ManagedEtcdOptions, dataDir: string): Promise<ProcessId | null> {
  const found = await findProcess(argv => argv.includes(dataDirArgument(dataDir)));
  if (found === null) return null;
  if (found.argv.includes(clientUrlArgument(options.clientPort))) return found.id;
  options.log.warn('ending the etcd found on this data directory: it listens elsewhere than configured', {
    pid: found.id.pid,
    argv: found.argv,
  });
  await endProcess(found.id, STOP_GRACE_MS, options.clock);
  return null;
}

/**
 * An etcd that is ended in the first moments of its first start leaves data from which it never elects itself again
 * (seen with 3.4.23). Data that never answered as healthy are moved aside, so that it begins anew.
 */
async function setAsideUnproven(dataDir: string, provenFile: string): Promise<void> {
  const proven = await access(provenFile).then(
    () => true,
    () => false,
  );
  if (proven) return;
  await rm(`${dataDir}.unproven`, { recursive: true, force: true });
  await rename(dataDir, `${dataDir}.unproven`).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  });
}

async function launch(options: ManagedEtcdOptions, dataDir: string, outputFile: string): Promise<ProcessId> {
  await requireFreePort(options.clientPort, 'client');
  await requireFreePort(options.peerPort, 'peer');
  await limitFile(outputFile, LOG_BYTES_MAX);
  const output = openSync(outputFile, 'a', 0o600);
  try {
    const version = await toolVersion(tools.etcd, options.binary);
    const child = spawn(options.binary, etcdArguments({ ...options, version, dataDir }), {
      detached: true,
      cwd: '/',
      env: etcdEnvironment(process.arch),
      stdio: ['ignore', output, output],
    });
    const { pid } = child;
    if (pid === undefined) throw await new Promise<Error>(resolve => child.once('error', resolve));
    child.unref();
    // In the turn in which it was started: one that ends at once is there to be looked at no longer than that.
    return processAt(pid);
  } catch (error) {
    throw new ManagedEtcdError(`cannot run ${options.binary}: ${(error as Error).message}`, {
      retryable: false,
      cause: error,
    });
  } finally {
    closeSync(output);
  }
}

async function requireFreePort(port: number, kind: 'client' | 'peer'): Promise<void> {
  const holder = await portHolder(port);
  if (holder === null) return;
  throw new ManagedEtcdError(
    `port ${port}, which etcd needs as its ${kind} port, is taken by ${holder}: end that, or configure another port`,
    { retryable: true },
  );
}

async function healthy(
  endpoint: string,
  running: ProcessId,
  outputFile: string,
  options: ManagedEtcdOptions,
): Promise<void> {
  const deadlineMs = options.clock.now() + HEALTH_DEADLINE_MS;
  let answer = 'nothing yet';
  while (!options.signal?.aborted) {
    answer = await askHealth(endpoint);
    if (answer === 'healthy') return;
    if (!(await isAlive(running))) {
      throw await startFailure(`etcd ended before it was healthy`, outputFile, options);
    }
    if (options.clock.now() >= deadlineMs) {
      throw await startFailure(
        `etcd at ${endpoint} is not healthy after ${HEALTH_DEADLINE_MS / 1000} s (it answers: ${answer})`,
        outputFile,
        options,
      );
    }
    await options.clock.sleep(HEALTH_POLL_MS, options.signal);
  }
  throw new ManagedEtcdError('waiting for etcd was given up', {
    retryable: true,
    cause: options.signal.reason,
  });
}

async function askHealth(endpoint: string): Promise<string> {
  try {
    const response = await fetch(`${endpoint}/health`, { signal: AbortSignal.timeout(HEALTH_ANSWER_MS) });
    const text = await response.text();
    return /"health":\s*"?true/.test(text) ? 'healthy' : text.slice(0, 200);
  } catch (error) {
    const cause = (error as Error).cause;
    return cause instanceof Error ? cause.message : String(error);
  }
}

async function startFailure(
  what: string,
  outputFile: string,
  options: ManagedEtcdOptions,
): Promise<ManagedEtcdError> {
  const lines = await lastLines(outputFile, 20);
  const meaning = explainEtcdLog(lines, join(options.stateDir, 'etcd', 'data'));
  const advice = meaning ?? `its last words are in ${outputFile}: ${lines.at(-1) ?? '(none)'}`;
  return new ManagedEtcdError(`${what}: ${advice}`, { retryable: meaning === null });
}

/**
 * Sees the end of a process by looking, because one that was adopted is no child of ours, and keeps its output small.
 */
function watchProcess(running: ProcessId, outputFile: string, options: ManagedEtcdOptions): AbortController {
  const stopped = new AbortController();
  const { clock } = options;
  const watch = async () => {
    let checkLogAtMs = clock.now() + LOG_CHECK_MS;
    while (await isAlive(running)) {
      await clock.sleep(WATCH_POLL_MS, stopped.signal);
      if (stopped.signal.aborted) return;
      if (clock.now() < checkLogAtMs) continue;
      checkLogAtMs = clock.now() + LOG_CHECK_MS;
      await limitFile(outputFile, LOG_BYTES_MAX).catch((error: unknown) => {
        // A full disk must not end the watch; the next minute tries again.
        options.log.warn('cannot limit the size of the output of etcd', { outputFile, error });
      });
    }
    const [line] = await lastLines(outputFile, 1);
    return `etcd (process ${running.pid}) ended; its last words: ${line ?? '(none)'}`;
  };
  watch().then(
    reason => {
      if (reason !== undefined && !stopped.signal.aborted) options.onExit?.(reason);
    },
    (error: unknown) => {
      options.onExit?.(`etcd (process ${running.pid}) cannot be watched any more: ${String(error)}`);
    },
  );
  return stopped;
}
