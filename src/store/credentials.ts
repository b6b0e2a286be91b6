import { readFileSync } from 'node:fs';
import type { IOptions } from 'etcd3';

export interface TlsPaths {
  ca: string;
  cert: string;
  key: string;
}

/**
 * Reads the certificate files. etcd takes the certificate's common name for the user when its authentication is on.
 * They are read once: restart the agent to rotate them.
 * @throws Error naming the file that cannot be read
 */
export function readTls(paths: TlsPaths): NonNullable<IOptions['credentials']> {
  return {
    rootCertificate: read('tls.ca', paths.ca),
    certChain: read('tls.cert', paths.cert),
    privateKey: read('tls.key', paths.key),
  };
}

/** @throws RangeError saying what a list of endpoints looks like */
export function checkEndpoints(urls: string[], withTls: boolean): void {
  const scheme = withTls ? 'https' : 'http';
  const example = `${scheme}://10.0.0.1:2379`;
  if (urls.length === 0) throw new RangeError(`etcd needs at least one endpoint, as in ${example}`);
  for (const url of urls) {
    if (!/^https?:\/\/(\[[0-9a-f:]+\]|[^/:\s]+):\d+\/?$/i.test(url)) {
      throw new RangeError(`"${url}" is not an etcd endpoint: write it as in ${example}`);
    }
    if (!withTls && url.startsWith('https:')) {
      throw new RangeError(`etcd endpoint ${url} needs the tls settings ca, cert and key`);
    }
    if (withTls && !url.startsWith('https:')) {
      throw new RangeError(`etcd endpoint ${url} has no TLS though tls is set: write https://`);
    }
  }
}

function read(setting: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new Error(`${setting}: the file ${path} cannot be read`, { cause });
  }
}
