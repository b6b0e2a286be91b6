import test from 'ava';
import { ownPromises, type OwnState } from '../../src/promise/own-promises.ts';
import { appSpec, instanceStatus, processSpec } from '../support/nouns.ts';

const blog = appSpec({ dependsOn: ['auth'] });
const idle: OwnState = {
  node: 'node-1',
  capacity: { memoryBytes: 4_096, cpu: 2 },
  statuses: [],
  specOf: app => (app === 'blog' ? blog : undefined),
  artifacts: [],
  deploying: [],
  draining: null,
  requests: [],
};
const busy: OwnState = {
  ...idle,
  statuses: [instanceStatus()],
  artifacts: [{ digest: 'sha256:ab', bytes: 12 }],
  deploying: [{ app: 'blog', release: 2, step: 'build', completeBy: 'soon' }],
  draining: { reason: 'maintenance', left: 2, stays: [] },
  requests: [{ id: 'r1', action: 'restart', completeBy: 'soon' }],
};

test('an idle node promises to accept work up to its capacity', t => {
  t.deepEqual(ownPromises(idle), [
    {
      promiser: 'node-1',
      promisee: 'any',
      name: 'capacity',
      kind: 'state',
      polarity: 'accept',
      body: { kind: 'capacity', memoryBytes: 4_096, cpu: 2 },
      given: [],
      verify: { method: 'lease' },
      completeBy: null,
    },
  ]);
});

test('everything it does is a promise of its own name, in name order', t => {
  t.deepEqual(
    ownPromises(busy).map(({ name, kind }) => `${name} ${kind}`),
    [
      'capacity state',
      'deploying:blog/2 action',
      'draining state',
      'holding:sha256:ab state',
      'request:r1 action',
      'running:blog/web/0 state',
      'serving:blog.example.com state',
    ],
  );
});

test('actions say by when they are complete', t => {
  const actions = ownPromises(busy).filter(({ kind }) => kind === 'action');
  t.deepEqual(
    actions.map(({ completeBy }) => completeBy),
    ['soon', 'soon'],
  );
});

test('running is given what the app depends on, and says all there is to know', t => {
  const running = named('running:blog/web/0', busy);
  t.deepEqual(running?.given, ['app:auth']);
  t.is(running?.promisee, 'blog');
  t.deepEqual(running?.body, {
    kind: 'running',
    instance: 'blog/web/0',
    app: 'blog',
    process: 'web',
    index: 0,
    release: 1,
    version: '1',
    state: 'running',
    endpoint: { host: '127.0.0.1', port: 4001 },
    ready: true,
    pid: 4711,
    trouble: null,
  });
});

test('what answers on its health path is checked over HTTP', t => {
  t.deepEqual(named('running:blog/web/0', busy)?.verify, {
    method: 'http',
    host: '127.0.0.1',
    port: 4001,
    path: '/health',
    contains: null,
    timeoutSeconds: 2,
  });
});

test('without a health path only the connection is checked', t => {
  const spec = appSpec({ healthcheck: { ...blog.healthcheck, path: null } });
  t.deepEqual(named('running:blog/web/0', { ...busy, specOf: () => spec })?.verify, {
    method: 'tcp',
    host: '127.0.0.1',
    port: 4001,
    timeoutSeconds: 2,
  });
});

test('a worker, which listens nowhere, is checked by its lease', t => {
  const spec = appSpec({ processes: [processSpec({ type: 'mailer', routed: false })] });
  const state = {
    ...idle,
    statuses: [instanceStatus({ instance: 'blog/mailer/0', endpoint: null })],
    specOf: () => spec,
  };
  t.deepEqual(named('running:blog/mailer/0', state)?.verify, { method: 'lease' });
  t.is(named('serving:blog.example.com', state), undefined);
});

test('a copy of an app that is gone is still promised, as long as it runs', t => {
  t.deepEqual(named('running:blog/web/0', { ...busy, specOf: () => undefined })?.verify, { method: 'lease' });
});

test('a host name is served while a copy is ready, with their number', t => {
  const statuses = [
    instanceStatus({ instance: 'blog/web/1', endpoint: { host: '127.0.0.1', port: 4002 } }),
    instanceStatus(),
    instanceStatus({ instance: 'blog/web/2', state: 'starting', ready: false }),
  ];
  const serving = named('serving:blog.example.com', { ...idle, statuses });
  t.deepEqual(serving?.body, { kind: 'serving', hostname: 'blog.example.com', app: 'blog', instances: 2 });
  t.like(serving?.verify, { method: 'http', port: 4001 });
  t.is(named('serving:blog.example.com', { ...idle, statuses: statuses.slice(2) }), undefined);
});

function named(name: string, state: OwnState) {
  return ownPromises(state).find(promise => promise.name === name);
}

test('each copy is checked by its own release, one that stands by with a promise of its own', t => {
  const next = appSpec({ healthcheck: { ...blog.healthcheck, path: '/next' } });
  const standby = { release: 2, version: '2', endpoint: { host: '127.0.0.1', port: 4009 } };
  const state: OwnState = {
    ...idle,
    statuses: [instanceStatus({ standby })],
    specOf: (_, release) => (release === 2 ? next : blog),
  };
  t.deepEqual(named('standby:blog/web/0', state)?.body, {
    kind: 'standby',
    instance: 'blog/web/0',
    app: 'blog',
    process: 'web',
    index: 0,
    ...standby,
  });
  t.like(named('standby:blog/web/0', state)?.verify, { method: 'http', port: 4009, path: '/next' });
  t.like(named('running:blog/web/0', state)?.verify, { port: 4001, path: blog.healthcheck.path });
});
