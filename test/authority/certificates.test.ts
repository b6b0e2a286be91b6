import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import {
  belongsTo,
  factsOf,
  faultOfRequest,
  fingerprintOf,
  isSignedBy,
  makeAuthority,
  makeRequest,
  signRequest,
} from '../../src/authority/certificates.ts';

const openssl = promisify(execFile);
const now = new Date('2026-11-22T10:00:00Z');
const identity = { node: 'node-1', cluster: 'prod', addresses: ['10.0.0.1', 'fd00::1', 'one.example.com'] };

async function issued() {
  const authority = await makeAuthority('prod', now);
  const { key, request } = await makeRequest(identity);
  return { authority, key, cert: await signRequest(authority, { request, identity, now }) };
}

test('a certificate speaks for its node under NODE.CLUSTER and every address, for a year', async t => {
  const { authority, key, cert } = await issued();
  const facts = factsOf(cert);
  t.is(facts.commonName, 'node-1.prod');
  t.deepEqual(facts.names, ['node-1', '10.0.0.1', 'FD00:0:0:0:0:0:0:1', 'one.example.com']);
  t.is(facts.endsAt.toISOString(), '2027-11-22T10:00:00.000Z');
  t.true(belongsTo(key, cert));
  t.true(isSignedBy(authority.certificate, cert));
  t.false(isSignedBy((await makeAuthority('prod', now)).certificate, cert));
});

test('another reader of certificates believes it too, at both ends of a connection', async t => {
  const { authority, cert } = await issued();
  const directory = await mkdtemp(join(tmpdir(), 'hop3-x509-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const [ca, node] = [join(directory, 'ca.pem'), join(directory, 'node.pem')];
  await writeFile(ca, authority.certificate);
  await writeFile(node, cert);
  const at = String(now.getTime() / 1000);
  for (const purpose of ['sslserver', 'sslclient']) {
    const { stdout } = await openssl('openssl', [
      ...['verify', '-x509_strict', '-attime', at, '-purpose', purpose, '-CAfile', ca, node],
    ]);
    t.regex(stdout, /: OK/);
  }
});

test('who a certificate speaks for is not for the request to say', async t => {
  const authority = await makeAuthority('prod', now);
  const { request } = await makeRequest({ node: 'root', cluster: 'elsewhere' });
  const cert = await signRequest(authority, { request, identity, now });
  t.is(factsOf(cert).commonName, 'node-1.prod');
  t.false(factsOf(cert).names.includes('root'));
});

test('no certificate outlives its authority', async t => {
  const authority = await makeAuthority('prod', now);
  const late = new Date('2036-10-01T00:00:00Z');
  const { request } = await makeRequest(identity);
  const cert = await signRequest(authority, { request, identity, now: late });
  t.is(factsOf(cert).endsAt.getTime(), factsOf(authority.certificate).endsAt.getTime());
});

test('a request whose signature is not its own is refused, and so is what is none', async t => {
  const { request } = await makeRequest(identity);
  t.is(await faultOfRequest(request), null);
  const der = Buffer.from(request.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  der[der.length - 3] = (der[der.length - 3] ?? 0) ^ 1;
  const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
  t.is(await faultOfRequest(forged), 'it is not signed with its own key');
  t.regex((await faultOfRequest('hello')) ?? '', /not a certificate request/);
  const authority = await makeAuthority('prod', now);
  await t.throwsAsync(signRequest(authority, { request: forged, identity, now }), { instanceOf: RangeError });
});

test('a request with an RSA key is refused: one kind of key is enough', async t => {
  const { stdout } = await openssl('openssl', [
    ...['req', '-newkey', 'rsa:2048', '-nodes', '-keyout', '/dev/null', '-subj', '/CN=node-1'],
  ]);
  t.is(await faultOfRequest(stdout), 'its key is not an ECDSA key on the curve P-256');
});

test('a fingerprint is of the certificate, however its text is laid out', async t => {
  const { certificate } = await makeAuthority('prod', now);
  t.is(fingerprintOf(certificate), fingerprintOf(`\n${certificate.replaceAll('\n', '\r\n')}`));
  t.regex(fingerprintOf(certificate), /^[\w-]{43}$/);
  t.throws(() => fingerprintOf('hello'), { instanceOf: RangeError });
});
