import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { parse } from 'yaml';
import { factsOf, isSignedBy } from '../../src/authority/certificates.ts';
import type { ClusterInitOptions } from '../../src/cli/daemon.ts';
import { certificateChecks } from '../../src/main/certificate-checks.ts';
import { clusterInit } from '../../src/main/cluster-init.ts';
import type { NodeConfig } from '../../src/model/node-config.ts';

async function machine(t: ExecutionContext, text?: string) {
  const directory = await mkdtemp(join(tmpdir(), 'hop3-init-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const configFile = join(directory, 'agent.yaml');
  if (text !== undefined) await writeFile(configFile, text);
  const init = (more: Partial<ClusterInitOptions> = {}) =>
    clusterInit({
      configFile,
      name: null,
      cluster: null,
      addresses: [],
      etcdEndpoints: null,
      renew: false,
      etcdRootPassword: null,
      ...more,
    });
  const at = (name: string) => join(directory, name);
  const file = (name: string) => readFile(at(name), 'utf8');
  const config = async () => parse(await file('agent.yaml')) as Record<string, Record<string, unknown>>;
  return { directory, init, at, file, config };
}

const first = { name: 'node-1', cluster: 'prod', addresses: ['10.0.0.1', 'one.example.com'] };

test('the first node gets an authority that only its owner can read, a certificate, and a configuration', async t => {
  const { init, at, file, config } = await machine(t);
  const report = await init({ ...first, etcdEndpoints: ['https://10.0.0.1:2379'] });
  const mode = async (name: string) => (await stat(at(name))).mode & 0o777;
  t.is(await mode('authority'), 0o700);
  t.is(await mode('authority/ca.key'), 0o600);
  t.is(await mode('tls/node.key'), 0o600);
  t.is(await mode('agent.yaml'), 0o600, 'it holds a token');
  t.true(isSignedBy(await file('authority/ca.pem'), await file('tls/node.pem')));
  t.is(factsOf(await file('tls/node.pem')).commonName, 'node-1.prod');
  t.deepEqual(report.certificate.names, ['node-1', '10.0.0.1', 'one.example.com']);
  const tls = { ca: at('tls/ca.pem'), cert: at('tls/node.pem'), key: at('tls/node.key') };
  const written = await config();
  t.like(written, {
    name: 'node-1',
    cluster: 'prod',
    authority: at('authority'),
    peer: { listen: '10.0.0.1:7400', tls },
    etcd: { endpoints: ['https://10.0.0.1:2379'], tls },
    admin: { listen: '10.0.0.1:7300', tls: { cert: tls.cert, key: tls.key } },
  });
  t.regex(String((written['admin']?.['tokens'] as string[])[0]), /^\S{32}$/);
});

test('run twice it says what is there and changes no file', async t => {
  const { init, file } = await machine(t);
  await init(first);
  const names = ['agent.yaml', 'authority/ca.pem', 'authority/ca.key', 'tls/node.pem', 'tls/node.key'];
  const before = await Promise.all(names.map(file));
  const again = await init();
  t.deepEqual(again.made, []);
  t.is(again.kept.length, 2);
  t.regex(
    again.kept.join('\n'),
    /authority .* is there already\n.*certificate of node-1 .* is there already/,
  );
  t.deepEqual(await Promise.all(names.map(file)), before);
});

test('a new certificate is made when asked for, and when the one there does not do', async t => {
  const { init, file } = await machine(t);
  await init(first);
  const [authority, certificate] = [await file('authority/ca.pem'), await file('tls/node.pem')];
  t.regex((await init({ renew: true })).made.join(), /certificate for node-1.*as asked/);
  const renewed = await file('tls/node.pem');
  t.not(renewed, certificate);
  const moved = await init({ addresses: ['10.0.0.1', '10.0.9.9'] });
  t.regex(moved.made.join(), /is not for 10\.0\.9\.9/);
  t.true(factsOf(await file('tls/node.pem')).names.includes('10.0.9.9'));
  t.is(await file('authority/ca.pem'), authority, 'the authority is never made anew');
});

test('a configuration that is there is completed, not replaced', async t => {
  const { init, file, config } = await machine(
    t,
    '# ours\nname: eu-1\nlabels: {zone: eu}\npeer: {listen: "10.0.0.7:7500"}\n',
  );
  const report = await init({ cluster: 'prod' });
  t.true((await file('agent.yaml')).startsWith('# ours\nname: eu-1\nlabels: {zone: eu}\n'.slice(0, 18)));
  t.like(await config(), { labels: { zone: 'eu' }, peer: { listen: '10.0.0.7:7500' } });
  t.true(report.certificate.names.includes('10.0.0.7'), 'the address is the one that it listens on');
  t.true(report.kept.some(line => line.includes('peer.listen')));
});

test('half an authority is no reason to make another', async t => {
  const { init, at } = await machine(t);
  await init(first);
  await rm(at('authority/ca.key'));
  await t.throwsAsync(init(), { message: /certificate without its key .*bring that back from a backup/ });
});

for (const { name, text, options, says } of [
  { name: 'no address', text: 'name: a\n', options: {}, says: /address that the other nodes reach/ },
  { name: 'the address of everything', options: { addresses: ['0.0.0.0'] }, says: /address that the other/ },
  {
    name: 'another name than the file says',
    text: 'name: eu-1\n',
    options: first,
    says: /says name: eu-1, not node-1/,
  },
  {
    name: 'etcd over the network without TLS',
    options: { ...first, etcdEndpoints: ['http://10.0.0.1:2379'] },
    says: /configuration would not be right/,
  },
  {
    name: 'users for an etcd without TLS',
    options: { ...first, etcdRootPassword: 'x' },
    says: /etcd without TLS takes anybody for anybody/,
  },
]) {
  test(`refused: ${name}`, async t => {
    const { init } = await machine(t, text);
    await t.throwsAsync(init(options), { message: says });
  });
}

test('what is refused leaves nothing behind', async t => {
  const { init, at } = await machine(t);
  await t.throwsAsync(init({ ...first, etcdEndpoints: ['http://10.0.0.1:2379'] }));
  for (const name of ['agent.yaml', 'authority', 'tls'])
    await t.throwsAsync(stat(at(name)), { code: 'ENOENT' });
});

test('doctor warns a month before a certificate ends, and says when one has ended', async t => {
  const { init, at } = await machine(t);
  await init(first);
  const { endsAt } = factsOf(await readFile(at('tls/node.pem'), 'utf8'));
  const tls = { ca: at('tls/ca.pem'), cert: at('tls/node.pem'), key: at('tls/node.key') };
  const config = {
    peer: { host: '10.0.0.1', port: 1, tls },
    admin: { host: '10.0.0.1', port: 1, tls: null },
    etcd: { kind: 'managed' },
    authority: at('authority'),
  } as unknown as NodeConfig;
  const statusAt = async (days: number) => {
    const checks = await certificateChecks(config, new Date(endsAt.getTime() - days * 86_400_000));
    return checks.map(({ status }) => status);
  };
  t.deepEqual(await statusAt(200), ['ok', 'ok']);
  t.deepEqual(await statusAt(29), ['warn', 'ok']);
  t.deepEqual(await statusAt(-1), ['fail', 'ok']);
  await rm(at('tls/node.pem'));
  t.deepEqual(await statusAt(200), ['fail', 'ok']);
});
