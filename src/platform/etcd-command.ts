import { atLeast } from './tool-version.ts';

export interface EtcdCommand {
  /** Of the program, as in `3.4.23`. */
  version: string;
  dataDir: string;
  clientPort: number;
  peerPort: number;
}

const MEMBER_NAME = 'hop3';

export function clientUrlArgument(clientPort: number): string {
  return `--listen-client-urls=http://127.0.0.1:${clientPort}`;
}

export function dataDirArgument(dataDir: string): string {
  return `--data-dir=${dataDir}`;
}

export function etcdArguments(command: EtcdCommand): string[] {
  const peerUrl = `http://127.0.0.1:${command.peerPort}`;
  return [
    `--name=${MEMBER_NAME}`,
    dataDirArgument(command.dataDir),
    clientUrlArgument(command.clientPort),
    `--advertise-client-urls=http://127.0.0.1:${command.clientPort}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=${MEMBER_NAME}=${peerUrl}`,
    '--auto-compaction-mode=periodic',
    '--auto-compaction-retention=1h',
    // The default of 3.5 keeps 100,000 entries in memory.
    '--snapshot-count=10000',
    ...progressNotify(command.version),
    '--logger=zap',
    '--log-level=warn',
  ];
}

/** Nothing of the agent's own environment: etcd reads every `ETCD_…` variable as a flag. */
export function etcdEnvironment(architecture: string): Record<string, string> {
  const environment = { PATH: '/usr/local/bin:/usr/bin:/bin' };
  // etcd 3.4 starts on ARM only when told so.
  return architecture === 'arm64' ? { ...environment, ETCD_UNSUPPORTED_ARCH: 'arm64' } : environment;
}

/** What the last lines of a failed etcd mean for the operator; null when they say nothing we know. */
export function explainEtcdLog(lines: string[], dataDir: string): string | null {
  const text = lines.join('\n');
  const known: [RegExp, string][] = [
    [
      /cannot be downgraded|determined cluster version|wal: .*unknown|etcdserver: .*version.*unsupported/i,
      `the data in ${dataDir} was written by a newer etcd: use that version again, or move the data away`,
    ],
    [
      /member .* has already been bootstrapped|cluster ID mismatch|member count is unequal|has no leader|unmatched member/i,
      `the data in ${dataDir} belongs to another etcd cluster: configure its endpoints, or move the data away`,
    ],
    [/permission denied/i, `the data in ${dataDir} belongs to another user`],
    [/no space left on device/i, `the disk that holds ${dataDir} is full`],
    [/address already in use/i, 'one of its ports was taken meanwhile by another program'],
    [/database file .* is locked|another etcd process/i, `another etcd has ${dataDir} open`],
    [
      /wal: crc mismatch|walpb: crc mismatch|invalid database|snap: crc mismatch/i,
      `the data in ${dataDir} is damaged: restore a snapshot, or move it away to begin anew`,
    ],
  ];
  return known.find(([pattern]) => pattern.test(text))?.[1] ?? null;
}

function progressNotify(version: string): string[] {
  if (atLeast(version, [3, 6, 0])) return ['--watch-progress-notify-interval=5s'];
  if (atLeast(version, [3, 4, 11])) return ['--experimental-watch-progress-notify-interval=5s'];
  return [];
}
