import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { apiClient } from '../../src/api/client.ts';
import { enrolmentRoutes } from '../../src/api/routes/enrolment.ts';
import { AdminError } from '../../src/ports/admin.ts';
import type { Enrolment, EnrolmentRequest } from '../../src/ports/enrolment.ts';
import { Authority } from '../support/certificates.ts';
import { served, withJson } from './helpers.ts';

const TOKEN = 'a-secret-of-some-length';
const request: EnrolmentRequest = {
  token: 'hop3join.x',
  node: 'node-2',
  addresses: ['10.0.0.2', 'two.example.com', 'fd00::2'],
  request: 'PEM',
};

/** An authority that remembers what it was asked, and knows one token. */
function recording(): { asked: unknown[]; enrolment: Enrolment } {
  const asked: unknown[] = [];
  const enrolment: Enrolment = {
    authority: () => Promise.resolve({ cluster: 'test', certificate: 'CA', fingerprint: 'F' }),
    issueToken: options => {
      asked.push(options);
      return Promise.resolve({
        token: 'T',
        node: options.node,
        endsAt: '2026-01-01T00:15:00Z',
        fingerprint: 'F',
      });
    },
    enrol: body => {
      asked.push(body);
      if (body.token !== request.token)
        throw new AdminError('refused', 'the token is not known here', { hint: 'h' });
      return Promise.resolve({
        cluster: 'test',
        certificate: 'CERT',
        authority: 'CA',
        etcd: { endpoints: ['https://10.0.0.1:2379'], authority: 'CA', asksForPassword: false },
      });
    },
  };
  return { asked, enrolment };
}

async function withAuthority(t: ExecutionContext, tokens: string[] = []) {
  const { asked, enrolment } = recording();
  return { asked, ...(await served(t, { extraRoutes: enrolmentRoutes(enrolment), tokens })) };
}

test('who has no bearer token may see the authority and bring a join token, and nothing else', async t => {
  const { api, ask, asked } = await withAuthority(t, [TOKEN]);
  const client = apiClient({ url: api.url });
  t.is((await client.authority()).fingerprint, 'F');
  t.is((await client.enrol(request)).certificate, 'CERT');
  t.is((await ask('/v1/authority/tokens', { method: 'POST' })).status, 401);
  t.is((await ask('/v1/nodes')).status, 401);
  t.deepEqual(asked, [request]);
});

test('a join token is made for whoever may ask anything', async t => {
  const { api, asked } = await withAuthority(t, [TOKEN]);
  const client = apiClient({ url: api.url, token: TOKEN });
  t.is((await client.joinToken({ ttlSeconds: 60, node: 'node-2' })).token, 'T');
  t.deepEqual(asked, [{ ttlSeconds: 60, node: 'node-2' }]);
});

test('without a body a token is for anybody, for a quarter of an hour', async t => {
  const { ask, asked } = await withAuthority(t);
  t.is((await ask('/v1/authority/tokens', { method: 'POST' })).status, 201);
  t.deepEqual(asked, [{ ttlSeconds: 900, node: null }]);
});

test('a refused token is 403, with the reason and what to do', async t => {
  const { api } = await withAuthority(t);
  const error = await t.throwsAsync(apiClient({ url: api.url }).enrol({ ...request, token: 'no' }));
  t.like(error, { status: 403, message: 'the token is not known here', problem: { hint: 'h' } });
});

for (const { name, body } of [
  { name: 'no name', body: { ...request, node: undefined } },
  { name: 'a name with a dot', body: { ...request, node: 'root.prod' } },
  { name: 'a name with a star', body: { ...request, node: '*' } },
  { name: 'no address', body: { ...request, addresses: [] } },
  { name: 'a wildcard for an address', body: { ...request, addresses: ['*.example.com'] } },
  { name: 'an address with a comma', body: { ...request, addresses: ['a,DNS:b'] } },
  { name: 'a request without end', body: { ...request, request: 'x'.repeat(20_000) } },
  { name: 'something more', body: { ...request, cluster: 'other' } },
]) {
  test(`an enrolment with ${name} is refused before the authority hears of it`, async t => {
    const { ask, asked } = await withAuthority(t);
    const response = await ask('/v1/authority/enrolments', { method: 'POST', ...withJson(body) });
    t.is(response.status, 422);
    t.deepEqual(asked, []);
  });
}

test('over TLS the authority may be asked for before anybody is believed; then only who it signed is', async t => {
  const directory = await mkdtemp(join(tmpdir(), 'hop3-api-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const authority = await Authority.make(directory);
  const tls = await authority.issue('node-1');
  const { enrolment } = recording();
  const listen = { host: '127.0.0.1', port: 0, tls };
  const { api } = await served(t, { extraRoutes: enrolmentRoutes(enrolment), listen });
  t.is((await apiClient({ url: api.url, believeAnybody: true }).authority()).certificate, 'CA');
  await t.throwsAsync(apiClient({ url: api.url }).authority(), { message: /certificate/ });
  const ca = await readFile(authority.ca, 'utf8');
  t.is((await apiClient({ url: api.url, ca }).enrol(request)).certificate, 'CERT');
});

test('with admin.tls.ca the certificate comes with who signed it', async t => {
  const directory = await mkdtemp(join(tmpdir(), 'hop3-api-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const authority = await Authority.make(directory);
  const tls = { ...(await authority.issue('node-1')), ca: authority.ca };
  const { api } = await served(t, { listen: { host: '127.0.0.1', port: 0, tls } });
  const { connect } = await import('node:tls');
  const { port } = new URL(api.url);
  const chain = await new Promise<string[]>((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port: Number(port), rejectUnauthorized: false }, () => {
      const { subject, issuerCertificate } = socket.getPeerCertificate(true);
      resolve([String(subject.CN), String(issuerCertificate.subject.CN)]);
      socket.destroy();
    }).on('error', reject);
  });
  t.deepEqual(chain, ['node-1', 'test authority']);
});
