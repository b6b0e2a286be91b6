import test, { type ExecutionContext } from 'ava';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, request, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Endpoint } from '../../src/model/node-promise.ts';
import type { Pool } from '../../src/model/traffic.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { findOnPath } from '../../src/platform/tools.ts';
import type { Proxy } from '../../src/ports/proxy.ts';
import { haproxy } from '../../src/proxy/haproxy.ts';
import { FakeLog } from '../support/fake-log.ts';
import { FakeProxy, FakeProxyProcess } from '../support/fake-proxy.ts';
import { freePort } from '../support/free-port.ts';

interface World {
  /** A proxy as a newly started agent makes it, on the same machine each time. */
  proxy: () => Proxy;
  /** Status, and the name of the instance that answered, if one did. null = nobody listens. */
  ask: (host: string) => Promise<{ status: number; by: string | null } | null>;
  /** A new instance that answers. */
  instance: (name: string) => Promise<Endpoint>;
}

const SIZE = { backends: 3, slots: 2 };

async function fakeWorld(): Promise<World> {
  const process = new FakeProxyProcess();
  const names = new Map<number, string>();
  return {
    proxy: () => new FakeProxy({ process, ...SIZE }),
    ask: async host => {
      const answer = new FakeProxy({ process }).ask(host);
      if (answer === null) return null;
      return {
        status: answer.status,
        by: answer.status === 200 ? names.get(answer.endpoint.port)! : null,
      };
    },
    instance: async name => {
      const port = 4000 + names.size;
      names.set(port, name);
      return { host: '127.0.0.1', port };
    },
  };
}

async function realWorld(t: ExecutionContext): Promise<World> {
  const stateDir = await mkdtemp(join(tmpdir(), 'hop3-proxy-'));
  const binary = (await findOnPath('haproxy', `${process.env['PATH'] ?? ''}:/usr/sbin`))!;
  const port = await freePort();
  const options = {
    binary,
    stateDir,
    config: { host: '127.0.0.1', port, ...SIZE },
    clock: systemClock(),
    log: new FakeLog(),
  };
  t.teardown(async () => {
    await haproxy(options).stop();
    await rm(stateDir, { recursive: true, force: true });
  });
  return {
    proxy: () => haproxy(options),
    ask: host => askOver(port, host),
    instance: async name => {
      const server = createServer((_request, response) => response.setHeader('instance', name).end()).listen(
        0,
        '127.0.0.1',
      );
      t.teardown(() => closeServer(server));
      await once(server, 'listening');
      return { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
    },
  };
}

function askOver(port: number, host: string): Promise<{ status: number; by: string | null } | null> {
  return new Promise((resolve, reject) => {
    const asking = request({ host: '127.0.0.1', port, headers: { host }, agent: false }, response => {
      response.resume().once('end', () => {
        const by = response.headers['instance'];
        resolve({ status: response.statusCode!, by: typeof by === 'string' ? by : null });
      });
    });
    asking.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') resolve(null);
      else reject(error);
    });
    asking.end();
  });
}

async function closeServer(server: Server): Promise<void> {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
}

function pool(app: string, hostnames: string[], ...servers: (Endpoint | [Endpoint, 'drain'])[]): Pool {
  return {
    app,
    hostnames,
    checkPath: null,
    servers: servers.map((server, index) => ({
      instance: `${app}/web/${index}`,
      endpoint: Array.isArray(server) ? server[0] : server,
      state: Array.isArray(server) ? server[1] : 'ready',
    })),
  };
}

const worlds = { 'in memory': fakeWorld, HAProxy: realWorld };
for (const [kind, make] of Object.entries(worlds)) {
  const contract = (title: string, body: (t: ExecutionContext, world: World) => Promise<void>) => {
    test.serial(`${kind}: ${title}`, async t => body(t, await make(t)));
  };

  contract('nobody can apply before it was started', async (t, { proxy }) => {
    await t.throwsAsync(proxy().apply([]));
  });

  contract(
    'until the first round it says that it knows nothing, then that no app has the name',
    async (t, { proxy, ask }) => {
      const one = proxy();
      await one.start();
      t.like(await ask('a.test'), { status: 503 });
      await one.apply([]);
      t.like(await ask('a.test'), { status: 404 });
    },
  );

  contract(
    'host names lead to their app, whatever the case and the port; others to none',
    async (t, { proxy, ask, instance }) => {
      const one = proxy();
      await one.start();
      await one.apply([
        pool('a', ['a.test', 'www.A.test'], await instance('a')),
        pool('b', ['*.b.test'], await instance('b')),
      ]);
      const expected: Record<string, string | number> = {
        'a.test': 'a',
        'A.TEST:8080': 'a',
        'www.a.test': 'a',
        'x.b.test': 'b',
        'x.y.b.test': 404,
        'b.test': 404,
        'c.test': 404,
      };
      for (const [host, answer] of Object.entries(expected)) {
        const got = await ask(host);
        t.is(got?.by ?? got?.status, answer, host);
      }
    },
  );

  contract('the catch-all gets what nobody else has', async (t, { proxy, ask, instance }) => {
    const one = proxy();
    await one.start();
    await one.apply([
      pool('rest', ['_'], await instance('rest')),
      pool('a', ['a.test'], await instance('a')),
    ]);
    t.like(await ask('a.test'), { by: 'a' });
    t.like(await ask('anything'), { by: 'rest' });
  });

  contract('the same pools again change nothing', async (t, { proxy, instance }) => {
    const one = proxy();
    await one.start();
    const pools = [pool('a', ['a.test'], await instance('a'), [await instance('b'), 'drain'])];
    t.true((await one.apply(pools)).commands > 0);
    t.deepEqual(await one.apply(pools), { commands: 0, reloaded: false });
  });

  contract('draining and removed instances get no new requests', async (t, { proxy, ask, instance }) => {
    const one = proxy();
    await one.start();
    const [first, second] = [await instance('first'), await instance('second')];
    const askedFor = async () => {
      const answers = await Promise.all(Array.from({ length: 8 }, () => ask('a.test')));
      return [...new Set(answers.map(answer => answer?.by))].sort();
    };
    await one.apply([pool('a', ['a.test'], first, second)]);
    t.deepEqual(await askedFor(), ['first', 'second']);
    await one.apply([pool('a', ['a.test'], [first, 'drain'], second)]);
    t.deepEqual(await askedFor(), ['second']);
    await one.apply([pool('a', ['a.test'], first)]);
    t.deepEqual(await askedFor(), ['first']);
  });

  contract(
    'an app without a ready instance answers 503, and 200 once it has one',
    async (t, { proxy, ask, instance }) => {
      const one = proxy();
      await one.start();
      await one.apply([pool('a', ['a.test'])]);
      t.like(await ask('a.test'), { status: 503 });
      await one.apply([pool('a', ['a.test'], await instance('a'))]);
      t.like(await ask('a.test'), { by: 'a' });
    },
  );

  contract('a host name can move from one app to another', async (t, { proxy, ask, instance }) => {
    const one = proxy();
    await one.start();
    const [a, b] = [await instance('a'), await instance('b')];
    await one.apply([pool('a', ['x.test', 'a.test'], a), pool('b', ['b.test'], b)]);
    t.like(await ask('x.test'), { by: 'a' });
    await one.apply([pool('a', ['a.test'], a), pool('b', ['b.test', 'x.test'], b)]);
    t.like(await ask('x.test'), { by: 'b' });
  });

  contract(
    'it survives its agent: the next one finds it with all it does',
    async (t, { proxy, ask, instance }) => {
      const pools = [pool('a', ['a.test'], await instance('a'))];
      const before = proxy();
      await before.start();
      await before.apply(pools);
      const after = proxy();
      await after.start();
      t.like(await ask('a.test'), { by: 'a' });
      t.deepEqual(await after.apply(pools), { commands: 0, reloaded: false });
    },
  );

  contract(
    'more apps and instances than prepared take a reload, once',
    async (t, { proxy, ask, instance }) => {
      const one = proxy();
      await one.start();
      const names = ['a', 'b', 'c', 'd', 'e'];
      const pools = await Promise.all(
        names.map(async name => pool(name, [`${name}.test`], await instance(name))),
      );
      t.false((await one.apply(pools.slice(0, 3))).reloaded);
      t.true((await one.apply(pools)).reloaded);
      for (const name of names) t.like(await ask(`${name}.test`), { by: name });

      const many = await Promise.all([1, 2, 3, 4, 5].map(index => instance(`a${index}`)));
      t.true((await one.apply([pool('a', ['a.test'], ...many), ...pools.slice(1)])).reloaded);
      t.regex((await ask('a.test'))?.by ?? '', /^a\d$/);
      t.like(await ask('e.test'), { by: 'e' });
      t.deepEqual(await one.apply([pool('a', ['a.test'], ...many), ...pools.slice(1)]), {
        commands: 0,
        reloaded: false,
      });
    },
  );

  contract(
    'rounds asked for at the same time do not disturb each other',
    async (t, { proxy, ask, instance }) => {
      const one = proxy();
      await one.start();
      const [a, b] = [await instance('a'), await instance('b')];
      await Promise.all([
        one.apply([pool('a', ['a.test'], a)]),
        one.apply([pool('a', ['a.test'], a), pool('b', ['b.test'], b)]),
        one.apply([pool('b', ['b.test'], b)]),
      ]);
      t.like(await ask('a.test'), { status: 404 });
      t.like(await ask('b.test'), { by: 'b' });
    },
  );

  contract('nobody listens once it was stopped; it can be started again', async (t, { proxy, ask }) => {
    const one = proxy();
    await one.start();
    await one.stop();
    await one.stop();
    t.is(await ask('a.test'), null);
    await one.start();
    await one.start();
    t.like(await ask('a.test'), { status: 503 });
  });
}
