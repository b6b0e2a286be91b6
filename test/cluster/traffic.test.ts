import test, { type ExecutionContext } from 'ava';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import type { Move } from '../../src/model/placement.ts';
import { hop3, startCluster, type TestCluster, type TestNode } from '../support/cluster.ts';
import { freePort } from '../support/free-port.ts';
import { fromWeb } from '../support/from-web.ts';
import { underLoad } from '../support/load.ts';
import { until } from '../support/until.ts';

const SHOP = { scale: { web: 3 }, domains: { list: ['shop.test'] } };
const STATIC_SITE = join(import.meta.dirname, '../../manifests/hello-static');

/** One cluster for the file, the proxy on a node of its own: the tests run one after the other, each leaves it whole. */
let cluster: TestCluster;
let proxy: TestNode;
test.before(async () => {
  cluster = await startCluster({
    nodes: 4,
    leaseTtlSeconds: 5,
    settings: [{ labels: { zone: 'a' } }, {}, {}, { roles: ['proxy'] }],
  });
  proxy = cluster.node('node-4');
  await cluster.apply('shop', SHOP);
  await settled('shop');
  await answering('shop.test');
});
test.after.always(() => cluster.stop());

test.serial('a rolling restart fails no request', async t => {
  const before = await cluster.ready('shop', 3);
  await withoutFailure(t, async () => {
    const { code, stderr } = await hop3(['restart', 'shop', '--wait'], cluster.nodes[0]!.url);
    t.is(code, 0, stderr);
  });
  const after = await cluster.ready('shop', 3);
  for (const { pid } of after) t.false(before.some(old => old.pid === pid));
});

test.serial('a changed release fails no request', async t => {
  await withoutFailure(t, async () => {
    await cluster.apply('shop', { ...SHOP, env: { GREETING: 'new' } });
    await settled('shop');
  });
  t.is(JSON.parse((await fromWeb(proxy.proxyPort, 'shop.test')).body).greeting, 'new');
});

test.serial('going back to the release before fails no request', async t => {
  await withoutFailure(t, async () => {
    const { code, stderr } = await hop3(['rollback', 'shop', '--wait'], cluster.nodes[0]!.url);
    t.is(code, 0, stderr);
  });
  t.not(JSON.parse((await fromWeb(proxy.proxyPort, 'shop.test')).body).greeting, 'new');
});

for (const deploy of [
  { strategy: 'blue-green' },
  { strategy: 'canary', 'canary-share': 0.3, 'bake-time': 1 },
]) {
  test.serial(`${deploy.strategy} fails no request`, async t => {
    await withoutFailure(t, async () => {
      await cluster.apply('shop', { ...SHOP, deploy, env: { GREETING: deploy.strategy } });
      await settled('shop');
    });
    t.is(JSON.parse((await fromWeb(proxy.proxyPort, 'shop.test')).body).greeting, deploy.strategy);
  });
}

test.serial('a bad release rolls itself back and fails no request', async t => {
  const before = await cluster.ready('shop', 3);
  await withoutFailure(t, async () => {
    await cluster.apply('shop', {
      ...SHOP,
      run: { start: 'exit 1' },
      restart: { max: 2 },
      deploy: { 'healthy-deadline': 10 },
    });
    await until('it is given up', async () => (await cluster.api.app('shop')).givenUp !== null);
    await settled('shop');
  });
  const after = await cluster.ready('shop', 3);
  t.deepEqual(
    after.map(({ pid, release }) => ({ pid, release })),
    before.map(({ pid, release }) => ({ pid, release })),
    'what ran before was never touched',
  );
});

test.serial('an instance that is SIGKILLed fails no request', async t => {
  const [victim] = await cluster.ready('shop', 3);
  await withoutFailure(t, async () => {
    process.kill(victim!.pid!, 'SIGKILL');
    await cluster.ready('shop', 3, all => all.every(({ pid }) => pid !== victim!.pid));
  });
});

test.serial('another scale, up and down, fails no request', async t => {
  await withoutFailure(t, async () => {
    await cluster.api.scale('shop', { web: 5 });
    await cluster.ready('shop', 5);
    await cluster.api.scale('shop', { web: 2 });
    await until('the surplus is gone', async () => (await cluster.instances('shop')).length === 2);
  });
});

test.serial('the loss of a node with one of two instances fails no request', async t => {
  const lost = await withOneOfTwo();
  await withoutFailure(t, async () => {
    await lost.crash();
    await cluster.ready('shop', 2, all => all.every(({ node }) => node !== lost.name));
  });
  await lost.start();
  await lost.ready();
});

test.serial('an instance that moves because its node leaves fails no request', async t => {
  const leaving = await withOneOfTwo();
  await withoutFailure(t, async () => {
    await leaving.end('SIGINT');
    await cluster.ready('shop', 2, all => all.every(({ node }) => node !== leaving.name));
  });
  await leaving.start();
  await leaving.ready();
});

test.serial('a node that is drained fails no request', async t => {
  const emptied = await withOneOfTwo();
  await withoutFailure(t, async () => {
    const { code, stdout, stderr } = await hop3(['drain', emptied.name, '--wait'], cluster.nodes[0]!.url);
    t.is(code, 0, stderr);
    t.is(stdout, `${emptied.name}: drained, nothing runs there any more\n`);
  });
  const after = await cluster.ready('shop', 2);
  t.true(after.every(({ node }) => node !== emptied.name));
  await cluster.api.scale('shop', { web: 4 });
  await cluster.ready('shop', 4);
  await cluster.api.undrain(emptied.name);
});

test.serial('giving a node its share again fails no request', async t => {
  const { url } = cluster.nodes[0]!;
  const { instance, from, to, reason } = await oneToMove();
  t.regex(reason, new RegExp(`^${from} has [23] of shop/web, ${to} has 0$`));
  const { stdout: would } = await hop3(['rebalance'], url);
  t.regex(would, new RegExp(`^${instance} +${from} +${to} +${reason}$`, 'm'));
  await withoutFailure(t, async () => {
    const { code, stdout, stderr } = await hop3(['rebalance', '--apply', '--wait'], url);
    t.is(code, 0, stderr);
    t.regex(stdout, /: completed, 1 completed$/m);
  });
  const after = await cluster.ready('shop', 4);
  t.is(after.find(other => other.instance === instance)?.node, to);
  t.is(new Set(after.map(({ node }) => node)).size, 3);
  t.regex((await hop3(['rebalance'], url)).stdout, /^it is as even as it can be: nothing would move$/m);
  await cluster.api.scale('shop', { web: 2 });
  await until('the surplus is gone', async () => (await cluster.instances('shop')).length === 2);
});

for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
  test.serial(`the proxy's agent ended by ${signal} and started again fails no request`, async t => {
    const before = await proxyPids();
    await withoutFailure(t, async () => {
      await proxy.end(signal);
      await proxy.start();
      await proxy.ready();
      await cluster.api.scale('shop', { web: signal === 'SIGKILL' ? 3 : 2 });
      await cluster.ready('shop', signal === 'SIGKILL' ? 3 : 2);
    });
    t.deepEqual(await proxyPids(), before);
  });
}

test.serial('a new app and its host name need no reload, and fail no request of others', async t => {
  const before = await proxyPids();
  await withoutFailure(t, async () => {
    await cluster.apply('site', {
      source: { path: STATIC_SITE },
      build: { toolchain: 'static', 'static-dir': 'public' },
      run: undefined,
      healthcheck: undefined,
      scale: { web: 2 },
      domains: { list: ['site.test'] },
    });
    await cluster.ready('site', 2);
    await answering('site.test');
  });
  t.deepEqual(await proxyPids(), before);
  t.notRegex(await logOf(proxy), /reload/);
});

test.serial('a static site is served, an unknown host name is told so', async t => {
  const page = await fromWeb(proxy.proxyPort, 'site.test');
  t.is(page.status, 200);
  t.regex(page.body, /<html/);
  t.deepEqual(await fromWeb(proxy.proxyPort, 'nobody.test'), {
    status: 404,
    body: 'No app has the host name nobody.test.\n',
  });
});

test.serial('an expired promise alone takes nothing out that still answers', async t => {
  await cluster.apply('pinned', {
    domains: { list: ['pinned.test'] },
    placement: { requires: { zone: 'a' } },
  });
  const [only] = await cluster.ready('pinned', 1);
  await answering('pinned.test');
  const holder = cluster.node(only!.node!);
  await withoutFailure(
    t,
    async () => {
      await holder.end('SIGKILL');
      await until('its session has expired', async () =>
        (await cluster.node('node-2').api.nodes()).items.every(
          ({ name, state }) => name !== holder.name || state !== 'Active',
        ),
      );
    },
    'pinned.test',
  );
  t.is(JSON.parse((await fromWeb(proxy.proxyPort, 'pinned.test')).body).pid, only!.pid);
  await withoutFailure(
    t,
    async () => {
      await holder.start();
      await holder.ready();
      await cluster.ready('pinned', 1);
    },
    'pinned.test',
  );
  t.is((await cluster.ready('pinned', 1))[0]!.pid, only!.pid);
});

test.serial('etcd away until every node has lost its session, and back, fails no request', async t => {
  await withoutFailure(t, async () => {
    await cluster.etcd.first.stop();
    await until('the nodes know that they are cut off', async () => {
      const states = await Promise.all(cluster.nodes.map(node => node.api.node()));
      return states.every(({ state }) => state === 'ConnectionLost');
    });
    await cluster.etcd.first.start();
    await cluster.etcd.first.healthy();
    await cluster.ready('shop', 2);
  });
});

test.serial('a proxy that is killed is started again with everything in place', async t => {
  const before = await proxy.proxyProcesses();
  for (const { pid } of before) process.kill(pid, 'SIGKILL');
  await until('another runs', async () => {
    const now = await proxy.proxyProcesses();
    return now.length > 0 && now.every(({ pid }) => !before.some(old => old.pid === pid));
  });
  await answering('shop.test');
  await answering('site.test');
  t.regex(await logOf(proxy), /the proxy is not running: starting it again/);
});

test.serial(
  'a proxy port that is taken is told once, with its holder; the proxy comes up when it is free',
  async t => {
    const holder = createServer().listen(await freePort(), '127.0.0.1');
    await once(holder, 'listening');
    const { port } = holder.address() as { port: number };
    const node = await cluster.add({ roles: ['proxy'], proxyPort: port });
    await node.ready();
    const told = await until('it is told', async () => {
      const lines = (await logOf(node)).split('\n').filter(line => line.includes("can't listen"));
      return lines.length > 0 ? lines : null;
    });
    t.is(told.length, 1);
    t.true(
      told[0]!.includes(`the proxy can't listen at 127.0.0.1:${port}: process ${process.pid} (`),
      told[0],
    );
    holder.close();
    await once(holder, 'close');
    await answering('shop.test', node);
    // It answers a moment before the agent knows.
    await until('it says that it is over', async () => (await logOf(node)).includes('the proxy works again'));
    t.is(
      (await logOf(node)).split("can't listen").length - 1,
      2,
      'told once, and once more when it was over',
    );

    await node.end('SIGTERM');
    t.is((await fromWeb(port, 'shop.test')).status, 200, 'an agent that hands over leaves its proxy');
    await node.start();
    await node.ready();
    await node.end('SIGINT');
    t.deepEqual(await node.proxyProcesses(), [], 'one that leaves takes it along');
  },
);

/** Loads the host through the proxy from before the deed until some time after it. */
async function withoutFailure(
  t: ExecutionContext,
  deed: () => Promise<void>,
  host = 'shop.test',
): Promise<void> {
  const phase = { isDone: false };
  const load = (async () => {
    const reports = [await underLoad(proxy.proxyPort, host, 2)];
    while (!phase.isDone) reports.push(await underLoad(proxy.proxyPort, host, 1));
    reports.push(await underLoad(proxy.proxyPort, host, 1));
    return reports;
  })();
  const done = (async () => {
    try {
      await until('requests arrive', async () => (await fromWeb(proxy.proxyPort, host)).status === 200);
      await deed();
    } finally {
      phase.isDone = true;
    }
  })();
  // Neither outlives the test, whichever of them fails.
  await Promise.allSettled([load, done]);
  await done;
  const reports = await load;
  const failed = reports.reduce((sum, report) => sum + report.failed, 0);
  const requests = reports.reduce((sum, report) => sum + report.requests, 0);
  t.log(`${failed} of ${requests} failed`);
  t.is(failed, 0, reports.map(({ said }) => said).join('\n'));
  t.true(requests > 100);
}

/** Until its observers have found all of its release healthy, and nothing else of it runs. */
async function settled(app: string): Promise<void> {
  await until(
    `${app} is settled`,
    async () => {
      const view = await cluster.api.app(app);
      const isOver = view.rollout === null && view.conditions.some(({ reason }) => reason === 'AllReady');
      return (
        isOver &&
        (await cluster.api.events({ subject: `app/${app}`, kind: 'rollout-settled' })).items.length > 0
      );
    },
    60_000,
  );
}

async function answering(host: string, node = proxy): Promise<void> {
  await until(`${host} answers at ${node.name}`, () =>
    fromWeb(node.proxyPort, host).then(
      ({ status }) => status === 200,
      () => false,
    ),
  );
}

function logOf(node: TestNode): Promise<string> {
  return readFile(join(node.stateDir, 'agent.log'), 'utf8');
}

/**
 * A node with one of two instances, another than the first, which is asked. A node that was slow to renew its session has lost its
 * instance to the other, and gets its share again.
 */
function withOneOfTwo(): Promise<TestNode> {
  return until(
    'the two instances are on two nodes',
    async () => {
      const nodes = new Set((await cluster.ready('shop', 2)).map(({ node }) => node!));
      if (nodes.size === 2) return cluster.node([...nodes].find(name => name !== 'node-1')!);
      await hop3(['rebalance', '--apply', '--wait'], cluster.nodes[0]!.url);
      return null;
    },
    60_000,
  );
}

/**
 * Of four instances, none of them on a node that could have one. A node that went twice within a minute gets nothing for as long; and
 * one that was slow to renew its session may have lost an instance to the empty one, which is emptied again.
 */
function oneToMove(): Promise<Move> {
  return until(
    'there is one to move',
    async () => {
      const { moves } = await cluster.api.rebalancing();
      if (moves.length === 1) return moves[0];
      const nodes = new Set((await cluster.ready('shop', 4)).map(({ node }) => node!));
      if (nodes.size === 3) {
        const last = [...nodes].find(name => name !== 'node-1')!;
        await hop3(['drain', last, '--wait'], cluster.nodes[0]!.url);
        await cluster.api.undrain(last);
      }
      return null;
    },
    90_000,
  );
}

async function proxyPids(): Promise<number[]> {
  return (await proxy.proxyProcesses()).map(({ pid }) => pid);
}
