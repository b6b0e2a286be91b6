import type { NodeName } from './ids.ts';

/** One node's configuration, after file, environment and flags have been merged and checked (design 15). */
export interface NodeConfig {
  name: NodeName;
  cluster: string;
  labels: Record<string, string>;
  /** `apps` runs instances, `proxy` runs HAProxy. */
  roles: ('apps' | 'proxy')[];
  /** Absolute. */
  stateDir: string;
  etcd: EtcdConfig;
  /** 2–3600. */
  leaseTtlSeconds: number;
  admin: ListenConfig & { socket: string | null; tokens: string[] };
  /** gRPC: plans, and workers that are not part of the agent; null = this node serves none. */
  rpc: (ListenConfig & { tokens: string[] }) | null;
  /** Where other agents reach this one, and the address instances listen on. */
  peer: PeerConfig;
  /** Where the cluster's authority lies, on a node that enrols others. Absolute. */
  authority?: string;
  driver: 'process' | 'systemd';
  plans: PlanLimits & {
    /** Which commands steps may run here: none, those of apps, or all. */
    commands: 'none' | 'apps' | 'all';
  };
  proxy: ProxyConfig;
  /** What apps may reserve of this node; null = what the host has. */
  capacity: { memoryBytes: number | null; cpu: number | null };
  /** Ports given to instances: first and last. */
  portRange: [number, number];
  probeIntervalSeconds: number;
  logLevel: 'debug' | 'info' | 'warn' | 'error';
}

export interface PlanLimits {
  /** Of plans that have ended the last so many are kept, for so many days. */
  keep: number;
  keepDays: number;
  /** With so many that have not ended, this node takes no more. */
  open: number;
  /** Attempts that this node works at at the same time. */
  atOnce: number;
}

export const defaultPlanLimits: PlanLimits = { keep: 1_000, keepDays: 7, open: 10_000, atOnce: 512 };

export type EtcdConfig =
  | {
      kind: 'endpoints';
      endpoints: string[];
      tls: TlsFiles | null;
      username: string | null;
      password: string | null;
    }
  /** The agent runs a single-member etcd of its own on loopback. */
  | { kind: 'managed'; clientPort: number; peerPort: number };

export interface ListenConfig {
  host: string;
  port: number;
  tls: ServerTlsFiles | null;
}

/** Whether only this host can reach what listens there; IPv6 with or without brackets. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '').toLowerCase();
  return bare === 'localhost' || bare === '::1' || /^127(\.\d{1,3}){3}$/.test(bare);
}

/** Both sides show a certificate. */
export interface PeerConfig {
  host: string;
  port: number;
  tls: TlsFiles | null;
}

/** Paths of PEM files. `ca` = who signed the certificate, when clients know only who signed that one. */
export interface ServerTlsFiles {
  ca?: string;
  cert: string;
  key: string;
}

/** Paths of PEM files. */
export interface TlsFiles {
  ca: string;
  cert: string;
  key: string;
}

export interface ProxyConfig {
  host: string;
  port: number;
  /** Prepared backends, and server slots in each: what can be added without a reload. */
  backends: number;
  slots: number;
}
