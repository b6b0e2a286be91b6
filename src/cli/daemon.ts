import type { NodeFlags } from '../manifest/node-overrides.ts';

/** Where `dev` keeps everything unless told otherwise: in the directory it is said in. */
export const DEV_STATE_DIR = '.hop3';

/**
 * The two long-running commands, and what else only an agent knows. The command line reads their options: what they do
 * is handed in by `main.ts`, so that asking for `--help` or `status` never loads an agent.
 */
export interface DaemonCommands {
  /** One node, until the signal aborts. Resolves to the exit code. */
  run(options: RunOptions, signal: AbortSignal): Promise<number>;
  /** A whole cluster on this machine, until the signal aborts; or one order to such a cluster. Resolves to the exit code. */
  dev(options: DevOptions, signal: AbortSignal): Promise<number>;
  /** Makes what a cluster's first node needs, or says that it is there. Asks no agent. */
  clusterInit(options: ClusterInitOptions): Promise<ClusterReport>;
  /** Gets a certificate from a node that holds the authority. */
  clusterJoin(options: ClusterJoinOptions, signal: AbortSignal): Promise<ClusterReport>;
  /** Of a version of etcd, in words that say which version is free of each. */
  etcdDefects(version: string): Promise<string[]>;
}

export interface RunOptions {
  /** Absolute; null = `/etc/hop3/agent.yaml` if there is one. */
  configFile: string | null;
  flags: NodeFlags;
}

interface ClusterNodeOptions {
  /** Absolute. */
  configFile: string;
  /** null = what the configuration says, or the host's. */
  name: string | null;
  /** Host names and addresses for the others; the first is listened on. Empty = what the configuration says. */
  addresses: string[];
  /** To give this node a user and a role in etcd; null = etcd's users are left alone. Never kept. */
  etcdRootPassword: string | null;
}

export interface ClusterInitOptions extends ClusterNodeOptions {
  cluster: string | null;
  etcdEndpoints: string[] | null;
  /** A new certificate for the node even if it has a good one. */
  renew: boolean;
}

export interface ClusterJoinOptions extends ClusterNodeOptions {
  /** `https://HOST:PORT` of an admin API. */
  url: string;
  token: string;
}

/** What was made, what was there, and what is left to do: sentences for a person. */
export interface ClusterReport {
  node: string;
  cluster: string;
  /** Of the authority's certificate. */
  fingerprint: string;
  configFile: string;
  certificate: { file: string; endsAt: string; names: string[] };
  made: string[];
  kept: string[];
  next: string[];
}

export interface DevOptions {
  order: DevOrder;
  /** Absolute. */
  stateDir: string;
}

export type DevOrder =
  | {
      kind: 'start';
      /** Absolute paths of manifests to apply once the cluster is up. */
      files: string[];
      nodes: number;
      proxyPort: number;
      /** Of the first node; the others follow. */
      apiPort: number;
      /** null = the nodes' default. */
      leaseTtlSeconds: number | null;
      logLevel: string | null;
      /** Forget what an earlier cluster in this state directory had. */
      fresh: boolean;
    }
  /** To the cluster that runs in this state directory. */
  | { kind: 'kill-node'; node: string }
  | { kind: 'start-node'; node: string }
  | { kind: 'stop' };
