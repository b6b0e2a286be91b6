import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { NodeName, Timestamp } from '../model/ids.ts';
import type { EnrolmentRecord } from '../model/records.ts';
import { AdminError } from '../ports/admin.ts';
import type { Clock } from '../ports/clock.ts';
import type { EnrolledNode, Enrolment, EnrolmentRequest } from '../ports/enrolment.ts';
import type { Log } from '../ports/log.ts';
import type { Entry, Store, Write } from '../ports/store.ts';
import { readAuthority } from './authority-files.ts';
import { type AuthorityPair, faultOfRequest, fingerprintOf, signRequest } from './certificates.ts';
import { hashOfToken, joinTokenText, parseJoinToken } from './join-token.ts';

export interface EnrolmentOptions {
  /** Who answers. */
  node: NodeName;
  cluster: string;
  /** null = this node does not hold the authority. */
  authorityDirectory: string | null;
  /** What a new node is told; null = this node's own etcd, which no other can reach. */
  etcd: { endpoints: string[]; caFile: string | null; asksForPassword: boolean } | null;
  store: Pick<Store, 'get' | 'list' | 'grant' | 'commit'>;
  clock: Pick<Clock, 'timestamp'>;
  log: Log;
}

/** Enrolment at this node: tokens live in the store, hashed and on a lease; the authority's key is read for each signature. */
export function enrolment(options: EnrolmentOptions): Enrolment {
  return {
    async authority() {
      const { certificate } = await authorityOf(options);
      return { cluster: options.cluster, certificate, fingerprint: fingerprintOf(certificate) };
    },
    async issueToken({ ttlSeconds, node }) {
      const { certificate } = await authorityOf(options);
      etcdOf(options);
      const { store, clock, log } = options;
      const fingerprint = fingerprintOf(certificate);
      const endsAt = clock.timestamp(ttlSeconds * 1000);
      const token = { secret: randomBytes(32).toString('base64url'), endsAt: new Date(endsAt), fingerprint };
      const value: EnrolmentRecord = { v: 1, node, issuedBy: options.node, endsAt, usedBy: null };
      const lease = await store.grant(ttlSeconds);
      await store.commit([], [{ put: 'enrolments', name: hashOfToken(token), value, lease }]);
      log.info('a join token was made', { for: node, endsAt });
      return { token: joinTokenText(token), node, endsAt, fingerprint };
    },
    async enrol(request) {
      const authority = await authorityOf(options);
      const etcd = etcdOf(options);
      // Everything that can be refused is, before the token is spent.
      const fault = await faultOfRequest(request.request);
      if (fault !== null) throw new AdminError('invalid', `the certificate request is refused: ${fault}`);
      const entry = await unusedToken(options, request, fingerprintOf(authority.certificate));
      await checkNames(options, request, entry.value);
      const etcdAuthority = etcd.caFile === null ? null : await readFile(etcd.caFile, 'utf8');
      const certificate = await signed(options, authority, request);
      await useUp(options, entry, request);
      options.log.info('a node was enrolled', { enrolled: request.node, addresses: request.addresses });
      return {
        cluster: options.cluster,
        certificate,
        authority: authority.certificate,
        etcd: {
          endpoints: etcd.endpoints,
          authority: etcdAuthority,
          asksForPassword: etcd.asksForPassword,
        },
      } satisfies EnrolledNode;
    },
  };
}

async function authorityOf({ authorityDirectory, node }: EnrolmentOptions): Promise<AuthorityPair> {
  const elsewhere = `${node} does not hold the cluster's authority: ask the node where cluster init was run`;
  if (authorityDirectory === null) throw new AdminError('conflict', elsewhere);
  const pair = await readAuthority(authorityDirectory).catch((error: unknown) => {
    throw new AdminError('unavailable', `the authority can't be used: ${(error as Error).message}`);
  });
  if (pair === null) throw new AdminError('conflict', `${elsewhere} (${authorityDirectory} is empty)`);
  return pair;
}

function etcdOf({ etcd, node }: EnrolmentOptions): NonNullable<EnrolmentOptions['etcd']> {
  if (etcd !== null) return etcd;
  throw new AdminError(
    'conflict',
    `${node} runs an etcd of its own on loopback, which no other node can reach: ` +
      'set etcd.endpoints to an etcd for all, then restart its agent',
  );
}

/** @throws AdminError saying what is wrong with the token */
async function unusedToken(
  { store, clock }: EnrolmentOptions,
  { token: text, node }: EnrolmentRequest,
  fingerprint: string,
): Promise<Entry<'enrolments'>> {
  const token = parseJoinToken(text);
  if (token === null) throw refused('is no join token: it is what cluster token prints, hop3join. and so on');
  if (token.fingerprint !== fingerprint) throw refused('is for the authority of another cluster');
  const entry = await store.get('enrolments', hashOfToken(token));
  if (entry === null) {
    const ended = token.endsAt.getTime() <= Date.parse(clock.timestamp());
    throw refused(ended ? `ended at ${token.endsAt.toISOString()}` : 'is not known here');
  }
  const { usedBy, node: boundTo } = entry.value;
  if (usedBy !== null) throw refused(`was used already, by ${usedBy}: each lets one node in, once`);
  if (boundTo !== null && boundTo !== node) throw refused(`is for ${boundTo}, not for ${node}`);
  return entry;
}

/** Nobody takes the place of a node that is there by having any token at all. */
async function checkNames(
  { store }: EnrolmentOptions,
  { node, addresses }: EnrolmentRequest,
  token: EnrolmentRecord,
): Promise<void> {
  const { entries } = await store.list('sessions');
  const sessions = entries.map(({ value }) => value);
  if (token.node !== node && sessions.some(session => session.node === node)) {
    throw new AdminError(
      'conflict',
      `${node} is a node of this cluster already; to give it a new certificate, use a token of its own`,
      { hint: `hop3-agent cluster token --node ${node}` },
    );
  }
  const names = [node, ...addresses].map(name => name.toLowerCase());
  const clash = sessions.find(
    session =>
      session.node !== node &&
      (names.slice(1).includes(session.node) || names.includes((session.peer?.host ?? '').toLowerCase())),
  );
  if (clash === undefined) return;
  throw new AdminError('conflict', `${clash.node} is reached under one of these names: ${names.join(', ')}`);
}

function signed(
  { cluster, clock }: EnrolmentOptions,
  authority: AuthorityPair,
  { request, node, addresses }: EnrolmentRequest,
): Promise<string> {
  return signRequest(authority, {
    request,
    identity: { node, cluster, addresses },
    now: new Date(clock.timestamp()),
  });
}

/** In one transaction with its line in the ledger; kept until its lease ends, to be able to say who used it. */
async function useUp(
  { store, clock, node }: EnrolmentOptions,
  entry: Entry<'enrolments'>,
  request: EnrolmentRequest,
): Promise<void> {
  const { name, revision, lease } = entry;
  const at: Timestamp = clock.timestamp();
  const value: EnrolmentRecord = { ...entry.value, usedBy: request.node };
  const writes: Write[] = [
    { put: 'enrolments', name, value, ...(lease !== null && { lease }) },
    {
      put: 'events',
      name: `${at}-${node}-enrolled-${name.slice(0, 8)}`,
      value: {
        v: 1,
        at,
        kind: 'node-enrolled',
        subject: `node/${request.node}`,
        node,
        message: `${node} gave ${request.node} a certificate for ${request.addresses.join(', ')}`,
        details: { addresses: request.addresses },
      },
    },
  ];
  const result = await store.commit([{ kind: 'enrolments', name, revision }], writes);
  if (result.kind === 'refused') throw refused('was used by another node at this moment');
}

function refused(reason: string): AdminError {
  return new AdminError('refused', `the token ${reason}`, {
    hint: 'hop3-agent cluster token makes another, on a node that holds the authority',
  });
}
