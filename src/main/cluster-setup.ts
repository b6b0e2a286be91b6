import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { nodeFiles, replaceFile } from '../authority/authority-files.ts';
import { commonName, type NodeIdentity } from '../authority/certificates.ts';
import type { ClusterInitOptions, ClusterJoinOptions } from '../cli/daemon.ts';
import { CliFailure, EXIT, usageFailure } from '../cli/failure.ts';
import { defaultStateDir } from '../cli/state-dir.ts';
import { completeNodeConfig, settingOf, type WantedSetting } from '../manifest/complete-node-config.ts';
import { readNodeConfig } from '../manifest/node-config.ts';
import type { NodeConfig, TlsFiles } from '../model/node-config.ts';
import { systemClock } from '../platform/clock.ts';
import { winstonLog } from '../platform/log.ts';
import { optionalText } from './optional-text.ts';

/** One node about to become part of a cluster: what its configuration says so far, and where its files go. */
export interface ClusterSetup {
  configFile: string;
  /** null = there is no such file yet. */
  text: string | null;
  identity: NodeIdentity;
  authorityDirectory: string;
  tls: TlsFiles;
}

/** @throws CliFailure when something about the node is not known */
export async function readSetup(
  options: Pick<ClusterInitOptions, 'configFile' | 'name' | 'addresses' | 'cluster'>,
): Promise<ClusterSetup> {
  const { configFile } = options;
  const text = await optionalText(configFile);
  const { config } = readNodeConfig(null, null, process.env, {}, facts());
  const said = (...path: string[]): string | null => {
    const value = settingOf(text, path);
    return typeof value === 'string' ? value : null;
  };
  const node = options.name ?? said('name') ?? config?.name ?? '';
  if (node === '') throw usageFailure('the name of the host gives the node none', '--name node-1');
  const listened = hostOf(said('peer', 'listen') ?? '');
  const addresses = options.addresses.length > 0 ? options.addresses : listened === '' ? [] : [listened];
  if (addresses.length === 0 || addresses.some(address => address === '0.0.0.0' || address === '::')) {
    throw usageFailure('the address that the other nodes reach this one by is needed', '--address 10.0.0.1');
  }
  const directory = dirname(configFile);
  return {
    configFile,
    text,
    identity: {
      node,
      cluster: options.cluster ?? said('cluster') ?? config?.cluster ?? 'default',
      addresses,
    },
    authorityDirectory: join(directory, 'authority'),
    tls: nodeFiles(join(directory, 'tls')),
  };
}

/** What every node of a cluster is told: who it is, and how it reaches the others. */
export function nodeSettings({ identity, tls }: ClusterSetup): WantedSetting[] {
  const { node, cluster, addresses } = identity;
  return [
    { path: ['name'], value: node },
    { path: ['cluster'], value: cluster },
    { path: ['peer', 'listen'], value: `${bracketed(addresses[0] ?? '')}:7400` },
    { path: ['peer', 'tls'], value: tls },
  ];
}

export interface PlannedConfig {
  config: NodeConfig;
  added: string[];
  /** Sentences. */
  kept: string[];
  write(): Promise<void>;
}

/** @throws CliFailure with everything that would be wrong with the completed file; nothing is written before `write` */
export function planConfig(setup: ClusterSetup, wanted: WantedSetting[]): PlannedConfig {
  const { configFile } = setup;
  const completed = completeNodeConfig(setup.text, wanted);
  for (const { field, is, wanted: value } of completed.kept) {
    if (field !== 'name' && field !== 'cluster') continue;
    const message = `${configFile} says ${field}: ${String(is)}, not ${String(value)}`;
    throw new CliFailure(EXIT.conflict, message, { hint: 'leave the option out, or change the file first' });
  }
  const { config, problems } = readNodeConfig(configFile, completed.text, process.env, {}, facts());
  if (config === null) {
    throw new CliFailure(EXIT.failed, 'the configuration would not be right', {
      problems,
      sources: new Map([[configFile, completed.text]]),
    });
  }
  return {
    config,
    added: completed.added,
    kept: completed.kept.map(({ field, is }) => `${field} in ${configFile} stays ${JSON.stringify(is)}`),
    // It may hold tokens and passwords.
    write: () =>
      completed.added.length === 0 ? Promise.resolve() : replaceFile(configFile, completed.text, 0o600),
  };
}

/** Gives the node its user and role, with root's password, which is then forgotten. Sentences about what was done. */
export async function etcdUsers(
  { etcd, cluster }: NodeConfig,
  { node }: NodeIdentity,
  options: Pick<ClusterJoinOptions, 'etcdRootPassword'> & { holdsAuthority: boolean; mayEnable: boolean },
): Promise<string[]> {
  const { etcdRootPassword, holdsAuthority, mayEnable } = options;
  if (etcdRootPassword === null) return [];
  if (etcd.kind === 'managed' || etcd.tls === null) {
    throw new CliFailure(EXIT.conflict, 'an etcd without TLS takes anybody for anybody: it gets no users', {
      hint: 'set etcd.endpoints to https addresses first (cluster init --etcd)',
    });
  }
  const { endpoints, tls } = etcd;
  // Loaded only here: without this option nobody has to wait for a client of etcd.
  const { setUpEtcdUsers } = await import('../store/etcd-users.ts');
  try {
    return await setUpEtcdUsers({
      endpoints,
      tls,
      cluster,
      node,
      userOf: each => commonName({ node: each, cluster }),
      holdsAuthority,
      mayEnable,
      rootPassword: etcdRootPassword,
      clock: systemClock(),
      log: winstonLog({ level: 'error', format: 'text', fields: {} }),
    });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new CliFailure(EXIT.failed, `all is made but the user in etcd: ${message}`, {
      hint: holdsAuthority
        ? 'once etcd answers, do the same again: what is there stays'
        : 'once etcd answers, join again, with another token',
      cause: error,
    });
  }
}

/** Empty when the text is no HOST:PORT. */
function hostOf(listen: string): string {
  return (URL.parse(`http://${listen}`)?.hostname ?? '').replace(/^\[|\]$/g, '');
}

export function bracketed(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}

function facts(): { hostname: string; stateDir: string } {
  return { hostname: hostname(), stateDir: defaultStateDir(process.env) };
}
