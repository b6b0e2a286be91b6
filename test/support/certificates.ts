import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface Certificate {
  cert: string;
  key: string;
}

/** A certificate authority of its own in a directory, made with openssl. */
export class Authority {
  readonly ca: string;
  private readonly directory: string;
  private readonly key: string;

  private constructor(directory: string) {
    this.directory = directory;
    this.ca = join(directory, 'ca.crt');
    this.key = join(directory, 'ca.key');
  }

  static async make(directory: string): Promise<Authority> {
    const authority = new Authority(directory);
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    const files = ['-keyout', authority.key, '-out', authority.ca];
    await run('openssl', ['req', '-x509', ...curve, ...files, '-subj', '/CN=test authority', '-days', '2']);
    return authority;
  }

  /** For both ends of a connection to this machine, unless it is for other addresses. */
  async issue(
    commonName: string,
    { addresses = 'DNS:localhost,IP:127.0.0.1' }: { addresses?: string } = {},
  ): Promise<Certificate> {
    const file = (suffix: string) => join(this.directory, `${commonName}.${suffix}`);
    const [key, request, cert, extensions] = [file('key'), file('csr'), file('crt'), file('ext')];
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    await run('openssl', ['req', ...curve, '-keyout', key, '-out', request, '-subj', `/CN=${commonName}`]);
    const usage = 'extendedKeyUsage=serverAuth,clientAuth';
    await writeFile(extensions, `subjectAltName=${addresses}\n${usage}\n`);
    // Of its own, not from a file: certificates are issued at the same time.
    const serial = `0x${randomBytes(8).toString('hex')}`;
    const signer = ['-CA', this.ca, '-CAkey', this.key, '-set_serial', serial, '-days', '2'];
    await run('openssl', ['x509', '-req', '-in', request, ...signer, '-extfile', extensions, '-out', cert]);
    return { cert, key };
  }
}
