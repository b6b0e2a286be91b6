import type { NodeConfig, TlsFiles } from '../model/node-config.ts';
import { startManagedEtcd, type ManagedEtcd } from '../platform/managed-etcd.ts';
import { findTool } from '../platform/tools.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';

/** The etcd a node talks to, whether somebody else's or its own. */
export interface NodeEtcd {
  endpoints: string[];
  tls: TlsFiles | null;
  username: string | null;
  password: string | null;
  /** Ends it, if it is the node's own. */
  stop(): Promise<void>;
  /** Leaves it running for the next agent. */
  leave(): Promise<void>;
}

const RESTART_AFTER_MS = 1000;

/** @throws ToolError or ManagedEtcdError when the node's own etcd cannot be had */
export async function etcdOf(
  config: NodeConfig,
  { clock, log, signal }: { clock: Clock; log: Log; signal: AbortSignal },
): Promise<NodeEtcd> {
  if (config.etcd.kind === 'endpoints') {
    const { endpoints, tls, username, password } = config.etcd;
    return {
      endpoints,
      tls,
      username,
      password,
      stop: () => Promise.resolve(),
      leave: () => Promise.resolve(),
    };
  }
  const { clientPort, peerPort } = config.etcd;
  const { path } = await findTool({ name: 'etcd', stateDir: config.stateDir, log, env: process.env, signal });
  let ending = false;
  let etcd: ManagedEtcd;
  const start = async (): Promise<void> => {
    etcd = await startManagedEtcd({
      binary: path,
      stateDir: config.stateDir,
      clientPort,
      peerPort,
      clock,
      log,
      signal,
      onExit: reason => {
        log.error('the own etcd ended and is started again', { reason });
        if (!ending) void again();
      },
    });
  };
  const again = async (): Promise<void> => {
    while (!ending && !signal.aborted) {
      await clock.sleep(RESTART_AFTER_MS, signal);
      try {
        await start();
        return;
      } catch (error) {
        log.error('the own etcd could not be started', { error });
      }
    }
  };
  await start();
  return {
    endpoints: [`http://127.0.0.1:${clientPort}`],
    tls: null,
    username: null,
    password: null,
    stop: async () => {
      ending = true;
      await etcd.stop();
    },
    leave: () => {
      ending = true;
      etcd.leave();
      return Promise.resolve();
    },
  };
}
