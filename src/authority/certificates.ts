import { createHash, createPrivateKey, randomBytes, webcrypto, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import * as x509 from '@peculiar/x509';
import type { NodeName } from '../model/ids.ts';

/** PEM texts. The key is what makes whoever has it the authority. */
export interface AuthorityPair {
  certificate: string;
  key: string;
}

/** Who a certificate speaks for. */
export interface NodeIdentity {
  node: NodeName;
  cluster: string;
  /** Host names and IP addresses that the others reach it by. */
  addresses: string[];
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' };
const SIGNING = { name: 'ECDSA', hash: 'SHA-256' };
const DAY_MS = 86_400_000;
const AUTHORITY_DAYS = 3653;
const NODE_DAYS = 365;
/** A node whose clock is a little late must believe a certificate made just now. */
const CLOCK_TOLERANCE_MS = 300_000;

/** A new authority for one cluster, for ten years. It signs for that cluster's agents and nobody else. */
export async function makeAuthority(cluster: string, now: Date): Promise<AuthorityPair> {
  const keys = await makeKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: [{ CN: [`hop3-agent authority of ${cluster}`] }],
    notBefore: new Date(now.getTime() - CLOCK_TOLERANCE_MS),
    notAfter: daysAfter(now, AUTHORITY_DAYS),
    keys,
    signingAlgorithm: SIGNING,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: pem(certificate), key: await privatePem(keys) };
}

/** A node's own key, which never leaves it, and what it asks the authority with. */
export async function makeRequest(
  identity: Pick<NodeIdentity, 'node' | 'cluster'>,
): Promise<{ key: string; request: string }> {
  const keys = await makeKeys();
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: [commonName(identity)] }],
    keys,
    signingAlgorithm: SIGNING,
  });
  return { key: await privatePem(keys), request: pem(request) };
}

/** Why a request can't be signed, in words; null when it can. */
export async function faultOfRequest(text: string): Promise<string | null> {
  try {
    const request = new x509.Pkcs10CertificateRequest(text);
    const { name, namedCurve } = request.publicKey.algorithm as { name: string; namedCurve?: string };
    if (name !== ALGORITHM.name || namedCurve !== ALGORITHM.namedCurve) {
      return 'its key is not an ECDSA key on the curve P-256';
    }
    return (await request.verify()) ? null : 'it is not signed with its own key';
  } catch {
    return 'it is not a certificate request in PEM';
  }
}

/**
 * A certificate for a year, for both ends of a connection. Of the request only its key counts: who the certificate
 * speaks for is the authority's to say. @throws RangeError when the request can't be signed
 */
export async function signRequest(
  authority: AuthorityPair,
  { request, identity, now }: { request: string; identity: NodeIdentity; now: Date },
): Promise<string> {
  const fault = await faultOfRequest(request);
  if (fault !== null) throw new RangeError(`the certificate request can't be signed: ${fault}`);
  const { publicKey } = new x509.Pkcs10CertificateRequest(request);
  const issuer = new x509.X509Certificate(authority.certificate);
  const der = createPrivateKey(authority.key).export({ type: 'pkcs8', format: 'der' });
  const signingKey = await webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, false, ['sign']);
  const ends = daysAfter(now, NODE_DAYS);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: [{ CN: [commonName(identity)] }],
    issuer: issuer.subjectName,
    notBefore: new Date(now.getTime() - CLOCK_TOLERANCE_MS),
    notAfter: ends < issuer.notAfter ? ends : issuer.notAfter,
    signingKey,
    publicKey,
    signingAlgorithm: SIGNING,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.serverAuth,
        x509.ExtendedKeyUsage.clientAuth,
      ]),
      new x509.SubjectAlternativeNameExtension(alternativeNames(identity)),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ],
  });
  return pem(certificate);
}

/**
 * `NODE.CLUSTER`. It is also the user that etcd takes the node for: with its dot no node can be called `root`.
 */
export function commonName({ node, cluster }: Pick<NodeIdentity, 'node' | 'cluster'>): string {
  return `${node}.${cluster}`;
}

/** SHA-256 over the certificate itself, as base64url. @throws RangeError when the text is no certificate */
export function fingerprintOf(certificate: string): string {
  return createHash('sha256').update(parsed(certificate).raw).digest('base64url');
}

export interface CertificateFacts {
  commonName: string;
  /** Host names and addresses it speaks for. */
  names: string[];
  endsAt: Date;
}

/** @throws RangeError when the text is no certificate */
export function factsOf(certificate: string): CertificateFacts {
  const found = parsed(certificate);
  return {
    commonName: /^CN=(.*)$/m.exec(found.subject)?.[1] ?? '',
    names: (found.subjectAltName ?? '')
      .split(', ')
      .map(name => name.replace(/^(DNS|IP Address):/, ''))
      .filter(name => name !== ''),
    endsAt: new Date(found.validTo),
  };
}

/** Whether this authority signed that certificate, which may have ended meanwhile. */
export function isSignedBy(authority: string, certificate: string): boolean {
  return parsed(certificate).verify(parsed(authority).publicKey);
}

/** Whether the certificate is for this private key. */
export function belongsTo(key: string, certificate: string): boolean {
  return parsed(certificate).checkPrivateKey(createPrivateKey(key));
}

function parsed(certificate: string): X509Certificate {
  try {
    return new X509Certificate(certificate);
  } catch (cause) {
    throw new RangeError('that is not a certificate in PEM', { cause });
  }
}

function makeKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

async function privatePem(keys: webcrypto.CryptoKeyPair): Promise<string> {
  const der = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return `${x509.PemConverter.encode(der, 'PRIVATE KEY')}\n`;
}

function pem(data: x509.X509Certificate | x509.Pkcs10CertificateRequest): string {
  return `${data.toString('pem')}\n`;
}

function alternativeNames({ node, addresses }: NodeIdentity): x509.JsonGeneralNames {
  const names = [...new Set([node, ...addresses])];
  return names.map(value => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value }));
}

/** Positive and without a leading zero byte, which some readers refuse. */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString('hex');
}

function daysAfter(now: Date, days: number): Date {
  return new Date(now.getTime() + days * DAY_MS);
}
