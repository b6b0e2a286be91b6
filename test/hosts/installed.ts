import assert from 'node:assert/strict';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { credentials, makeClientConstructor } from '@grpc/grpc-js';
import { services } from '../../src/rpc/descriptors.ts';
import { RpcClient } from '../rpc/helpers.ts';
import { until } from '../support/until.ts';
import {
  agentPid,
  isReady,
  nodeOn,
  readyInstances,
  RPC_TOKEN,
  type Fleet,
  type Form,
  type Node,
} from './fleet.ts';
import type { Host } from './host.ts';
import { seconds, settled, spread, steady, unchanged } from './shop.ts';

const MAIN = 'dist/main.js';

/** Releases that no agent can live with, in different ways. */
const broken: Record<string, (release: string) => Promise<void>> = {
  'ends at once': release => writeFile(join(release, MAIN), 'process.exit(3);\n'),
  'has another unit, which starts nothing': async release => {
    const file = join(release, 'hop3-agent.service');
    const text = await readFile(file, 'utf8');
    await writeFile(file, text.replace(/^ExecStart=.*$/m, 'ExecStart=/bin/false'));
  },
  // Later than an agent is up, and sooner than the installer has seen it live for long enough.
  'ends when it is up': async release => {
    const old = await readFile(join(release, MAIN), 'utf8');
    await writeFile(join(release, MAIN), old.replace('\n', '\nsetTimeout(() => process.exit(3), 4000);\n'));
  },
};
/** It takes a minute to be found out. */
const neverReady: typeof broken = {
  'is never ready': async release => {
    const old = await readFile(join(release, MAIN), 'utf8');
    const elsewhere = "process.env.HOP3_AGENT_ETCD = 'https://127.0.0.1:1';";
    await writeFile(join(release, MAIN), old.replace('\n', `\n${elsewhere}\n`));
  },
};

export async function failedUpgrades(fleet: Fleet, { quick }: Form): Promise<string> {
  const [upgraded] = fleet.nodes;
  const { host } = upgraded;
  const kinds = Object.entries(quick ? broken : { ...broken, ...neverReady });
  const unit = join(host.root, 'etc/systemd/system/hop3-agent.service');
  const before = await readFile(unit, 'utf8');
  const said = await steady(fleet.nodes, async () => {
    for (const [index, [what, breaking]] of kinds.entries()) {
      const release = await fleet.otherRelease(`broken-${index}`, breaking);
      const { code, stderr } = await host.run(['node', `${release}/install.js`, 'upgrade'], {
        timeoutMs: 240_000,
      });
      assert.equal(code, 1, `one that ${what} was taken for good`);
      assert.match(stderr, /went back to .*, which runs; no app was stopped/, what);
      assert.equal(await readFile(unit, 'utf8'), before, `the unit of one that ${what} is still there`);
      await isReady(upgraded);
    }
  });
  await servesGrpc(upgraded, fleet);
  return `${kinds.length} upgrades taken back: ${said}; the release serves gRPC`;
}

/** What was installed has all that gRPC needs. */
async function servesGrpc({ host }: Node, { outside }: Fleet): Promise<void> {
  const [ca, key, cert] = await Promise.all(
    [outside.ca, outside.key, outside.cert].map(file => readFile(file)),
  );
  const made = new (makeClientConstructor(services.health, 'health'))(
    `${host.address}:7500`,
    credentials.createSsl(ca, key, cert),
  );
  try {
    const { status } = await new RpcClient(made).withToken(RPC_TOKEN).call('check');
    assert.equal(status, 'SERVING');
  } finally {
    made.close();
  }
}

/** Neither the agent nor anything that it runs or needs. */
export async function nothingRuns({ host }: Pick<Node, 'host'>): Promise<void> {
  const left = await host.run(['pgrep', '-fa', 'server.cjs|haproxy|etcd|hop3']);
  // 1 = it looked, and found none.
  assert.deepEqual({ code: left.code, stdout: left.stdout }, { code: 1, stdout: '' }, left.stderr);
  const units = await host.must(['systemctl', 'list-units', '--all', '--plain', '--no-legend', 'hop3-*']);
  assert.equal(units, '');
}

/** At its worst moments: what the agent ran before is there, and the agent is not, or not yet. */
export async function takenOutAtBoot({ nodes, release }: Fleet): Promise<string> {
  const moments: Record<string, (host: Host) => Promise<unknown>> = {
    'while it waits to be started again': host =>
      host.must(['systemctl', 'kill', '--kill-whom=main', '-s', 'KILL', 'hop3-agent']),
    'while it starts': host => host.must(['systemctl', 'restart', '--no-block', 'hop3-agent']),
    'as soon as its host has booted': host => host.reboot(),
    'while its agent is stopped': host => host.must(['systemctl', 'stop', 'hop3-agent']),
  };
  const [, second, third] = nodes;
  for (const [index, [when, arrive]] of Object.entries(moments).entries()) {
    const before = await spread(nodes);
    const leaving = index % 2 === 0 ? second : third;
    const { host } = leaving;
    await arrive(host);
    await host.must(['node', `${release}/install.js`, 'remove'], { timeoutMs: 240_000 });
    await nothingRuns(leaving).catch((error: unknown) => {
      throw new Error(`taken out ${when}, it leaves something: ${(error as Error).message}`, {
        cause: error,
      });
    });
    await host.must(['node', `${release}/install.js`], { timeoutMs: 240_000 });
    await isReady(leaving);
    const after = await settled(nodes);
    for (const other of nodes) if (other !== leaving) unchanged(before, after, other.host.name);
  }
  return `${Object.keys(moments).length} moments`;
}

const GROWING = 'grown';

/** As deploy/README.md says it. */
export async function grown(fleet: Fleet): Promise<string> {
  const [alone, joining] = await Promise.all(['4', '5'].map(number => fleet.newHost(number)));
  await Promise.all([alone!.start(), joining!.start()]);
  try {
    return await growing(alone!, joining!, fleet.release);
  } finally {
    await Promise.all([alone!.powerOff(), joining!.powerOff()]);
  }
}

async function growing(alone: Host, joining: Host, release: string): Promise<string> {
  const install = ['node', `${release}/install.js`];
  await alone.must(install);
  const first = nodeOn(alone);
  await isReady(first);
  const pid = await agentPid(first);
  assert.match(await alone.must(install), /is installed already/);
  assert.equal(await agentPid(first), pid);
  await alone.must(['hop3-agent', 'deploy', '/srv/app', '--app', GROWING, '--host', 'grown.localhost']);
  const [before] = await readyInstances(first, GROWING, 1);

  const beganMs = performance.now();
  const shared = `https://${alone.address}:7379`;
  await alone.must(['sed', '-i', `s#http://127.0.0.1:7379#${shared}#`, '/etc/hop3/agent.yaml']);
  await alone.must(['hop3-agent', 'cluster', 'init', '--address', alone.address]);
  await alone.must([
    'install',
    '-d',
    '-o',
    'hop3-etcd',
    '-g',
    'hop3-etcd',
    '-m',
    '0700',
    '/etc/hop3/etcd-tls',
  ]);
  const own = ['install', '-o', 'hop3-etcd', '-g', 'hop3-etcd', '-m', '0400'];
  await alone.must(['sh', '-c', `${own.join(' ')} /etc/hop3/tls/* /etc/hop3/etcd-tls/`]);
  await appendFile(
    join(alone.root, 'etc/hop3/etcd.env'),
    [
      `ETCD_LISTEN_CLIENT_URLS=${shared}`,
      `ETCD_ADVERTISE_CLIENT_URLS=${shared}`,
      'ETCD_CERT_FILE=/etc/hop3/etcd-tls/node.pem',
      'ETCD_KEY_FILE=/etc/hop3/etcd-tls/node.key',
      'ETCD_TRUSTED_CA_FILE=/etc/hop3/etcd-tls/ca.pem',
      'ETCD_CLIENT_CERT_AUTH=true\n',
    ].join('\n'),
  );
  await alone.must(['systemctl', 'restart', 'hop3-etcd', 'hop3-agent']);
  await isReady(first);
  const [after] = await readyInstances(first, GROWING, 1);
  assert.equal(after?.pid, before?.pid, 'the app was started again');
  // It listens where the others can reach it once it is started anew.
  await alone.must(['hop3-agent', '--api', 'unix:/var/lib/hop3-agent/admin.sock', 'restart', GROWING]);

  const socket = ['--api', 'unix:/var/lib/hop3-agent/admin.sock'];
  const told = JSON.parse(await alone.must(['hop3-agent', ...socket, '--json', 'cluster', 'token'])) as {
    command: string;
  };
  await joining.must([...install, '--no-start', '--etcd', shared]);
  const join_ = [...told.command.split(' '), '--name', joining.name, '--address', joining.address];
  await joining.must(join_);
  await joining.must(['systemctl', 'start', 'hop3-agent']);
  const second = nodeOn(joining);
  await isReady(second);
  await until('both see each other', async () =>
    (await Promise.all([first, second].map(({ api }) => api.nodes()))).every(
      ({ items }) => items.filter(({ state }) => state === 'Active').length === 2,
    ),
  );
  await alone.must(['hop3-agent', ...socket, 'scale', GROWING, 'web=2']);
  const both = await readyInstances(second, GROWING, 2);
  assert.deepEqual(both.map(({ node }) => node).sort(), [alone.name, joining.name]);
  const tookMs = performance.now() - beganMs;

  await joining.must([...install, 'remove', '--purge']);
  await nothingRuns(second);
  const kept = ['/etc/hop3', '/var/lib/hop3-agent', '/usr/local/lib/hop3-agent', '/usr/local/bin/hop3-agent'];
  for (const path of kept) await joining.must(['test', '!', '-e', path]);
  assert.equal((await joining.run(['grep', '-c', '^hop3-', '/etc/passwd'])).stdout, '0\n');
  const moved = await readyInstances(first, GROWING, 2);
  assert.ok(moved.every(({ node }) => node === alone.name));
  return `two hosts ${seconds(tookMs)} after the first command; all on one again after a purge`;
}
