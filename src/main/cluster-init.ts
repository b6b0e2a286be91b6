import { randomBytes } from 'node:crypto';
import { dirname } from 'node:path';
import { readAuthority, readNodePems, writeAuthority, writeNodePems } from '../authority/authority-files.ts';
import {
  type AuthorityPair,
  belongsTo,
  commonName,
  factsOf,
  fingerprintOf,
  isSignedBy,
  makeAuthority,
  makeRequest,
  signRequest,
} from '../authority/certificates.ts';
import type { ClusterInitOptions, ClusterReport } from '../cli/daemon.ts';
import { settingOf, type WantedSetting } from '../manifest/complete-node-config.ts';
import type { NodeConfig } from '../model/node-config.ts';
import {
  bracketed,
  type ClusterSetup,
  etcdUsers,
  nodeSettings,
  planConfig,
  readSetup,
} from './cluster-setup.ts';

/**
 * Makes the authority and the first node's certificate, and completes the configuration. What is there and good stays.
 * @throws CliFailure
 */
export async function clusterInit(options: ClusterInitOptions): Promise<ClusterReport> {
  const setup = await readSetup(options);
  const { identity, authorityDirectory, tls, configFile } = setup;
  const plan = planConfig(setup, [...nodeSettings(setup), ...firstNodeSettings(setup, options)]);
  const now = new Date();
  const made: string[] = [];
  const kept: string[] = [...plan.kept];

  let authority = await readAuthority(authorityDirectory);
  if (authority === null) {
    authority = await makeAuthority(identity.cluster, now);
    await writeAuthority(authorityDirectory, authority);
    made.push(`the authority of cluster ${identity.cluster}, in ${authorityDirectory}`);
  } else {
    kept.push(`the authority in ${authorityDirectory} is there already`);
  }

  const reason = options.renew ? 'as asked' : await reasonToIssue(setup, authority, now);
  if (reason === null) {
    kept.push(`the certificate of ${identity.node} in ${tls.cert} is there already, and good`);
  } else {
    const { key, request } = await makeRequest(identity);
    const cert = await signRequest(authority, { request, identity, now });
    await writeNodePems(tls, { ca: authority.certificate, cert, key });
    made.push(`a certificate for ${identity.node}, in ${dirname(tls.cert)} (${reason})`);
  }
  await plan.write();
  if (plan.added.length > 0) made.push(`in ${configFile}: ${plan.added.join(', ')}`);
  made.push(
    ...(await etcdUsers(plan.config, identity, { ...options, holdsAuthority: true, mayEnable: true })),
  );

  const facts = factsOf((await readNodePems(tls))?.cert ?? '');
  return {
    node: identity.node,
    cluster: identity.cluster,
    fingerprint: fingerprintOf(authority.certificate),
    configFile,
    certificate: { file: tls.cert, endsAt: facts.endsAt.toISOString(), names: facts.names },
    made,
    kept,
    next: nextSteps(setup, plan.config),
  };
}

/** Where it can be asked by nodes that want to join, and by whom; and etcd, if one was named. */
function firstNodeSettings(
  { identity, tls, text, authorityDirectory }: ClusterSetup,
  { etcdEndpoints }: ClusterInitOptions,
): WantedSetting[] {
  const [address = ''] = identity.addresses;
  const said = settingOf(text, ['etcd', 'endpoints']);
  const endpoints = etcdEndpoints ?? (Array.isArray(said) ? said.map(String) : []);
  const withTls = endpoints.some(endpoint => endpoint.startsWith('https:'));
  return [
    ...(etcdEndpoints === null ? [] : [{ path: ['etcd', 'endpoints'], value: etcdEndpoints }]),
    ...(withTls && settingOf(text, ['etcd', 'tls']) === undefined
      ? [{ path: ['etcd', 'tls'], value: tls }]
      : []),
    { path: ['admin', 'listen'], value: `${bracketed(address)}:7300` },
    ...(settingOf(text, ['admin', 'tls']) === undefined
      ? [{ path: ['admin', 'tls'], value: { cert: tls.cert, key: tls.key } }]
      : []),
    ...(settingOf(text, ['admin', 'tokens']) === undefined
      ? [{ path: ['admin', 'tokens'], value: [randomBytes(24).toString('base64url')] }]
      : []),
    { path: ['authority'], value: authorityDirectory },
  ];
}

/** Why the node needs a certificate, in words; null when the one it has is good. */
async function reasonToIssue(
  { identity, tls }: ClusterSetup,
  authority: AuthorityPair,
  now: Date,
): Promise<string | null> {
  const pems = await readNodePems(tls);
  if (pems === null) return 'the first';
  const facts = factsOf(pems.cert);
  if (!isSignedBy(authority.certificate, pems.cert)) return 'the one there is not from this authority';
  if (!belongsTo(pems.key, pems.cert)) return 'the one there does not fit its key';
  if (facts.endsAt <= now) return `the one there ended at ${facts.endsAt.toISOString()}`;
  if (facts.commonName !== commonName(identity)) return `the one there is for ${facts.commonName}`;
  const missing = identity.addresses.filter(address => !facts.names.includes(address));
  return missing.length === 0 ? null : `the one there is not for ${missing.join(', ')}`;
}

function nextSteps({ configFile, authorityDirectory }: ClusterSetup, config: NodeConfig): string[] {
  const socket = config.admin.socket;
  const api = socket === null ? '' : `--api unix:${socket} `;
  return [
    `keep a copy of ${authorityDirectory} where only you can read it: whoever has ca.key can enrol nodes`,
    ...(config.etcd.kind === 'managed'
      ? ['give the cluster an etcd that all nodes reach: cluster init --etcd https://HOST:2379']
      : []),
    `start the agent, or restart it: hop3-agent run --config ${configFile}`,
    `hop3-agent ${api}cluster token`,
    'on the machine that shall join: the command that this prints',
  ];
}
