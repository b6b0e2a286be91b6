import { join } from 'node:path';
import type { AppSpec } from '../model/app-spec.ts';

/** What an operator sets on the agent so that package managers reach their registries from here. */
const PASSED_ON = [
  /^(https?|no|all|ftp)_proxy$/i,
  /^(SSL_CERT_FILE|SSL_CERT_DIR|CURL_CA_BUNDLE|REQUESTS_CA_BUNDLE|NODE_EXTRA_CA_CERTS|GIT_SSL_CAINFO)$/,
  /^PIP_/,
  // Not all of them: npm hands its whole configuration to what it starts, also to an agent started by a script.
  /^npm_config_(registry|userconfig|globalconfig|ca|cafile|strict_ssl|proxy|https_proxy|noproxy|@.*|\/\/.*)$/i,
  /^(GOPROXY|GOSUMDB|GOPRIVATE|GONOSUMDB|GONOPROXY|GOINSECURE|GOTOOLCHAIN)$/,
  /^(TZ|TMPDIR)$/,
];

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * A clean environment for fetching and building: nothing of the agent's own but PATH and what package managers need to
 * reach their registries. HOME is a folder shared by all builds of the node, so that their caches are.
 */
export function buildEnvironment(
  cacheDirectory: string,
  agentEnv: Record<string, string | undefined>,
): Record<string, string> & { PATH: string; HOME: string } {
  const passedOn = Object.entries(agentEnv).filter(([name]) => PASSED_ON.some(pattern => pattern.test(name)));
  return {
    ...(Object.fromEntries(passedOn) as Record<string, string>),
    PATH: agentEnv['PATH'] ?? DEFAULT_PATH,
    HOME: join(cacheDirectory, 'home'),
    LANG: 'C.UTF-8',
    CI: '1',
    npm_config_cache: join(cacheDirectory, 'npm'),
    npm_config_update_notifier: 'false',
    PIP_CACHE_DIR: join(cacheDirectory, 'pip'),
    PIP_DISABLE_PIP_VERSION_CHECK: '1',
    PIP_NO_INPUT: '1',
    ...goCaches(cacheDirectory),
  };
}

/** Go's caches belong to the node, not to the artifact: `go run` needs them when it starts, too. */
export function goCaches(cacheDirectory: string): Record<string, string> {
  return {
    GOCACHE: join(cacheDirectory, 'go-build'),
    GOPATH: join(cacheDirectory, 'go'),
    // Otherwise its files are read-only and the folder cannot simply be removed.
    GOFLAGS: '-modcacherw',
  };
}

export function literalEnv(spec: AppSpec): Record<string, string> {
  return Object.fromEntries(
    Object.entries(spec.env).flatMap(([name, value]) =>
      value.kind === 'literal' ? [[name, value.value]] : [],
    ),
  );
}
