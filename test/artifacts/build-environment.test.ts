import test from 'ava';
import { buildEnvironment } from '../../src/artifacts/build-environment.ts';

test("a build sees PATH, shared caches and what reaches the registries, and nothing else of the agent's", t => {
  const env = buildEnvironment('/cache', {
    PATH: '/bin',
    HOME: '/root',
    AWS_SECRET_ACCESS_KEY: 'secret',
    HOP3_AGENT_STATE_DIR: '/var/lib/hop3-agent',
    NODE_OPTIONS: '--inspect',
    HTTPS_PROXY: 'http://proxy:3128',
    no_proxy: 'localhost',
    npm_config_registry: 'https://npm.example.com',
    npm_config_local_prefix: '/somewhere',
    PIP_INDEX_URL: 'https://pip.example.com',
    GOPROXY: 'off',
  });
  t.like(env, {
    PATH: '/bin',
    HOME: '/cache/home',
    HTTPS_PROXY: 'http://proxy:3128',
    no_proxy: 'localhost',
    npm_config_registry: 'https://npm.example.com',
    npm_config_cache: '/cache/npm',
    PIP_INDEX_URL: 'https://pip.example.com',
    GOPROXY: 'off',
    GOCACHE: '/cache/go-build',
  });
  for (const name of [
    'AWS_SECRET_ACCESS_KEY',
    'HOP3_AGENT_STATE_DIR',
    'NODE_OPTIONS',
    'npm_config_local_prefix',
  ]) {
    t.false(name in env, name);
  }
});

test('without a PATH the usual one is used', t => {
  t.regex(buildEnvironment('/cache', {}).PATH, /^\/usr\/local\/sbin:.*:\/bin$/);
});
