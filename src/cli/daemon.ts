import type { NodeFlags } from '../manifest/node-overrides.ts';

/**
 * The two long-running commands, and what else only an agent knows. The command line reads their options: what they do
 * is handed in by `main.ts`, so that asking for `--help` or `status` never loads an agent.
 */
export interface DaemonCommands {
  /** One node, until the signal aborts. Resolves to the exit code. */
  run(options: RunOptions, signal: AbortSignal): Promise<number>;
  /** A whole cluster on this machine, until the signal aborts; or one order to such a cluster. Resolves to the exit code. */
  dev(options: DevOptions, signal: AbortSignal): Promise<number>;
  /** Of a version of etcd, in words that say which version is free of each. */
  etcdDefects(version: string): Promise<string[]>;
}

export interface RunOptions {
  /** Absolute; null = `/etc/hop3/agent.yaml` if there is one. */
  configFile: string | null;
  flags: NodeFlags;
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
