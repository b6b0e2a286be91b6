import type { Limits } from '../model/app-spec.ts';
import { quotedPath } from './systemd-tools.ts';

/** What a unit sees of the machine's files besides what everybody may read. */
export interface Reach {
  /** Where it starts. */
  directory: string;
  /** Its app's own, which it may write to. */
  own: readonly string[];
  /** Seen as `TOKEN_PLACE`; null = nothing is fenced. */
  tokens: string | null;
  /** Whether it has a fixed port below 1024: those are for root otherwise. */
  lowPort: boolean;
}

/** Where a unit finds the directory with its fencing token, wherever the agent keeps it. */
export const TOKEN_PLACE = '/run/hop3';

/** Such that ordinary Node, Python and Go programs run: no `MemoryDenyWriteExecute` (compilers at run time). */
const HARDENING = [
  'NoNewPrivileges=yes',
  'CapabilityBoundingSet=',
  'ProtectSystem=strict',
  // Not `ProtectHome=`, which either can't be bound into or can be written to.
  'TemporaryFileSystem=/home:ro /root:ro /run/user:ro',
  'PrivateTmp=yes',
  'PrivateDevices=yes',
  'ProtectProc=invisible',
  'ProtectKernelTunables=yes',
  'ProtectKernelModules=yes',
  'ProtectKernelLogs=yes',
  'ProtectControlGroups=yes',
  'ProtectClock=yes',
  'ProtectHostname=yes',
  'LockPersonality=yes',
  'RestrictRealtime=yes',
  'RestrictNamespaces=yes',
  'RestrictSUIDSGID=yes',
  'RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK',
  'SystemCallArchitectures=native',
  'SystemCallFilter=@system-service',
  'SystemCallErrorNumber=EPERM',
];

const LISTEN_LOW = 'CAP_NET_BIND_SERVICE';

/** Emptied by `TemporaryFileSystem=` and `PrivateTmp=`. */
const HIDDEN = ['/home', '/root', '/run/user', '/tmp', '/var/tmp'];

/** Hardening is not a choice of the app's: what a unit needs beyond it, its reach says. */
export function sandboxProperties({ directory, own, tokens, lowPort }: Reach): string[] {
  const shown = [...new Set([directory, ...own])];
  return [
    ...HARDENING,
    `WorkingDirectory=${directory}`,
    ...shown.flatMap(path => {
      const writable = own.includes(path);
      if (isHidden(path)) return `${writable ? 'BindPaths' : 'BindReadOnlyPaths'}=${quotedPath(path)}`;
      return writable ? `ReadWritePaths=${quotedPath(path)}` : [];
    }),
    ...(lowPort ? [`CapabilityBoundingSet=${LISTEN_LOW}`, `AmbientCapabilities=${LISTEN_LOW}`] : []),
    ...(tokens === null ? [] : [`BindReadOnlyPaths=${quotedPath(tokens)}:${TOKEN_PLACE}`]),
  ];
}

/** The control groups of the unit are systemd's to make; swap would be a way round the limit of memory. */
export function limitProperties({ memoryBytes, cpu, processes }: Limits): string[] {
  return [
    ...(memoryBytes === null ? [] : [`MemoryMax=${memoryBytes}`, 'MemorySwapMax=0']),
    ...(cpu === null ? [] : [`CPUQuota=${Math.max(1, Math.round(cpu * 100))}%`]),
    ...(processes === null ? [] : [`TasksMax=${processes}`]),
  ];
}

function isHidden(path: string): boolean {
  return HIDDEN.some(place => path.startsWith(`${place}/`));
}
