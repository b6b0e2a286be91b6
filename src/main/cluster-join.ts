import { dirname, join } from 'node:path';
import { apiClient } from '../api/client.ts';
import { replaceFile, writeNodePems } from '../authority/authority-files.ts';
import { factsOf, fingerprintOf, makeRequest } from '../authority/certificates.ts';
import { parseJoinToken } from '../authority/join-token.ts';
import type { ClusterJoinOptions, ClusterReport } from '../cli/daemon.ts';
import { CliFailure, EXIT, usageFailure } from '../cli/failure.ts';
import type { WantedSetting } from '../manifest/complete-node-config.ts';
import type { EnrolledNode } from '../ports/enrolment.ts';
import { type ClusterSetup, etcdUsers, nodeSettings, planConfig, readSetup } from './cluster-setup.ts';

/**
 * Makes a key here, has its certificate signed there, and completes the configuration. The token is shown only to an
 * agent whose authority it names. @throws CliFailure, ApiError, ApiUnreachable
 */
export async function clusterJoin(options: ClusterJoinOptions, signal: AbortSignal): Promise<ClusterReport> {
  const { url } = options;
  const token = parseJoinToken(options.token);
  if (token === null) {
    throw usageFailure('that is no join token', 'hop3-agent cluster token makes one on a node that is there');
  }
  if (URL.parse(url)?.protocol !== 'https:') {
    throw usageFailure(`"${url}" is not where an agent enrols nodes`, 'as in https://10.0.0.1:7300');
  }
  // Whoever answers may be anybody until its authority is the one that the token names.
  const { cluster, certificate: ca } = await apiClient({ url, believeAnybody: true }).authority(signal);
  const found = fingerprintOrNull(ca);
  if (found !== token.fingerprint) {
    throw new CliFailure(EXIT.notAllowed, `the agent at ${url} has another authority than the token is for`, {
      hint: 'nothing was sent to it; compare the fingerprint that cluster token prints there',
    });
  }
  const setup = await readSetup({ ...options, cluster });
  // What would be refused is found before the token is spent.
  planConfig(setup, nodeSettings(setup));
  const { identity, tls, configFile } = setup;
  const { key, request } = await makeRequest(identity);
  const enrolled = await apiClient({ url, ca }).enrol(
    { token: options.token.trim(), node: identity.node, addresses: identity.addresses, request },
    signal,
  );
  await writeNodePems(tls, { ca: enrolled.authority, cert: enrolled.certificate, key });
  const plan = planConfig(setup, [...nodeSettings(setup), ...(await etcdSettings(setup, enrolled))]);
  await plan.write();
  const users = await etcdUsers(plan.config, identity, {
    ...options,
    holdsAuthority: false,
    mayEnable: false,
  });
  const facts = factsOf(enrolled.certificate);
  return {
    node: identity.node,
    cluster: enrolled.cluster,
    fingerprint: token.fingerprint,
    configFile,
    certificate: { file: tls.cert, endsAt: facts.endsAt.toISOString(), names: facts.names },
    made: [
      `a key and a certificate for ${identity.node}, in ${dirname(tls.cert)}`,
      ...(plan.added.length > 0 ? [`in ${configFile}: ${plan.added.join(', ')}`] : []),
      ...users,
    ],
    kept: plan.kept,
    next: [
      ...(enrolled.etcd.asksForPassword && plan.config.etcd.kind === 'endpoints'
        ? [`etcd asks for a user: give this node one, and set etcd.username and etcd.password`]
        : []),
      `start the agent, or restart it: hop3-agent run --config ${configFile}`,
      'hop3-agent nodes',
    ],
  };
}

async function etcdSettings(
  { tls }: ClusterSetup,
  { etcd, authority }: EnrolledNode,
): Promise<WantedSetting[]> {
  const endpoints = { path: ['etcd', 'endpoints'], value: etcd.endpoints };
  if (etcd.authority === null) return [endpoints];
  if (etcd.authority.trim() === authority.trim()) return [endpoints, { path: ['etcd', 'tls'], value: tls }];
  const ca = join(dirname(tls.ca), 'etcd-ca.pem');
  await replaceFile(ca, etcd.authority, 0o644);
  return [endpoints, { path: ['etcd', 'tls'], value: { ...tls, ca } }];
}

function fingerprintOrNull(certificate: string): string | null {
  try {
    return fingerprintOf(certificate);
  } catch {
    return null;
  }
}
