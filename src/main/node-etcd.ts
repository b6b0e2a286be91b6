import type { NodeConfig, TlsFiles } from '../model/node-config.ts';
import { keepEtcd } from '../platform/kept-etcd.ts';
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
  const etcd = await keepEtcd({
    binary: path,
    stateDir: config.stateDir,
    clientPort,
    peerPort,
    clock,
    log,
    signal,
  });
  return {
    endpoints: [etcd.endpoint],
    tls: null,
    username: null,
    password: null,
    stop: () => etcd.stop(),
    leave: () => etcd.leave(),
  };
}
