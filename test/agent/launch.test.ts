import test from 'ava';
import { hookEnvironment, launchOf, type LaunchPlace } from '../../src/agent/launch.ts';
import type { EnvValue } from '../../src/model/app-spec.ts';
import { appSpec, desiredInstance, processSpec } from '../support/nouns.ts';

const place: LaunchPlace = {
  unit: 'blog.web.0.3.abc',
  directory: '/apps/blog/releases/3/src',
  dataDirectory: '/apps/blog/data',
  env: { VIRTUAL_ENV: '/apps/blog/venv' },
  pathPrepend: ['/apps/blog/venv/bin'],
  endpoint: { host: '10.0.0.1', port: 4001 },
  bindAddress: '10.0.0.1',
  ports: [],
  node: 'node-1',
  user: 'hop3',
  secrets: { KEY: 'made-once' },
};
const literal = (value: string): EnvValue => ({ kind: 'literal', value });
const generated: EnvValue = { kind: 'generated', format: 'hex', length: 8, prefix: '' };

function environment(
  env: Record<string, EnvValue>,
  parts: Partial<LaunchPlace> = {},
): Record<string, string> {
  return launchOf(desiredInstance({ spec: appSpec({ env }), release: 3 }), { ...place, ...parts }).env;
}

test('the whole contract with the process: Hop3’s variables, and nothing of the agent’s own', t => {
  t.deepEqual(environment({}), {
    APP: 'blog',
    HOME: '/apps/blog/data',
    USER: 'hop3',
    LANG: 'C.UTF-8',
    PWD: '/apps/blog/releases/3/src',
    DATA_DIR: '/apps/blog/data',
    HOST_NAME: 'blog.example.com',
    VIRTUAL_ENV: '/apps/blog/venv',
    PATH: '/apps/blog/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOP3_INSTANCE: 'blog/web/0',
    HOP3_NODE: 'node-1',
    HOP3_RELEASE: '3',
    PROC_TYPE: 'web',
    PORT: '4001',
    BIND_ADDRESS: '10.0.0.1',
    HOP3_UNIT: 'blog.web.0.3.abc',
  });
});

for (const { title, env, name, expected } of [
  { title: 'a literal is as it is written', env: { A: literal('x ${B}') }, name: 'A', expected: 'x ${B}' },
  {
    title: 'a generated one is what was made once',
    env: { KEY: generated },
    name: 'KEY',
    expected: 'made-once',
  },
  { title: 'an app’s name', env: { A: { kind: 'from-app', key: 'name' } }, name: 'A', expected: 'blog' },
  {
    title: 'an app’s domain',
    env: { A: { kind: 'from-app', key: 'domain' } },
    name: 'A',
    expected: 'blog.example.com',
  },
  {
    title: 'a template knows literals, secrets and the app, whatever their order',
    env: {
      URL: { kind: 'computed', template: 'https://${HOST}/?k=${KEY}&n=${NAME}' },
      HOST: literal('h'),
      KEY: generated,
      NAME: { kind: 'from-app', key: 'name' },
    },
    name: 'URL',
    expected: 'https://h/?k=made-once&n=blog',
  },
  {
    title: 'what a template does not know is nothing',
    env: { A: { kind: 'computed', template: '[${B}]' } },
    name: 'A',
    expected: '[]',
  },
  {
    title: 'the app’s own PORT does not make two instances collide',
    env: { PORT: literal('80') },
    name: 'PORT',
    expected: '4001',
  },
  {
    title: 'nor can it pass for another unit',
    env: { HOP3_UNIT: literal('x') },
    name: 'HOP3_UNIT',
    expected: place.unit,
  },
] as { title: string; env: Record<string, EnvValue>; name: string; expected: string }[]) {
  test(`variables: ${title}`, t => {
    t.is(environment(env)[name], expected);
  });
}

test('fixed ports are told by their names, and a worker that has one is told where to listen', t => {
  const ports = [
    { number: 8448, protocol: 'tcp' as const, name: 'federation' },
    { number: 1935, protocol: 'tcp' as const, name: 'rtmp-in' },
    { number: 53, protocol: 'udp' as const, name: null },
  ];
  const env = environment({ PORT_FEDERATION: literal('1') }, { endpoint: null, ports });
  t.like(env, { PORT_FEDERATION: '8448', PORT_RTMP_IN: '1935', BIND_ADDRESS: '10.0.0.1' });
  t.deepEqual(
    Object.keys(env).filter(name => name.startsWith('PORT')),
    ['PORT_FEDERATION', 'PORT_RTMP_IN'],
  );
});

test('a worker has no port, and keeps one it was given by the app', t => {
  t.is(environment({}, { endpoint: null })['PORT'], undefined);
  t.is(environment({ PORT: literal('80') }, { endpoint: null })['PORT'], '80');
});

for (const { directory, expected } of [
  { directory: 'public', expected: '/apps/blog/releases/3/src/public' },
  { directory: '.', expected: '/apps/blog/releases/3/src' },
  { directory: '', expected: '/apps/blog/releases/3/src' },
]) {
  test(`a static process serves "${directory}" of its release`, t => {
    const desired = desiredInstance({ process: processSpec({ kind: 'static', command: '', directory }) });
    t.is(launchOf(desired, place).directory, expected);
  });
}

test('hooks run with the app’s environment, without an instance’s own part', t => {
  const env = hookEnvironment(appSpec({ env: { A: literal('1') } }), place);
  t.like(env, { APP: 'blog', A: '1', VIRTUAL_ENV: '/apps/blog/venv' });
  for (const name of ['PORT', 'BIND_ADDRESS', 'HOP3_INSTANCE', 'HOP3_UNIT', 'PROC_TYPE'])
    t.is(env[name], undefined);
});
