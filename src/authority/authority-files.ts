import { chmod, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { TlsFiles } from '../model/node-config.ts';
import type { AuthorityPair } from './certificates.ts';

/** Where the authority's key and certificate lie. */
export function authorityFiles(directory: string): { certificate: string; key: string } {
  return { certificate: join(directory, 'ca.pem'), key: join(directory, 'ca.key') };
}

/** Where a node's own certificate lies, with the authority's that signed it. */
export function nodeFiles(directory: string): TlsFiles {
  return {
    ca: join(directory, 'ca.pem'),
    cert: join(directory, 'node.pem'),
    key: join(directory, 'node.key'),
  };
}

/** Null when there is none. @throws Error when half of it is there, or it can't be read */
export async function readAuthority(directory: string): Promise<AuthorityPair | null> {
  const files = authorityFiles(directory);
  const [certificate, key] = [await readOrNull(files.certificate), await readOrNull(files.key)];
  if (certificate === null && key === null) return null;
  if (certificate === null || key === null) {
    const [there, missing] = certificate === null ? ['key', 'certificate'] : ['certificate', 'key'];
    throw new Error(
      `${directory} holds an authority's ${there} without its ${missing} ` +
        `(${certificate === null ? files.certificate : files.key}): bring that back from a backup`,
    );
  }
  return { certificate, key };
}

/** Only its owner may read the directory. @throws Error when there is one already */
export async function writeAuthority(directory: string, pair: AuthorityPair): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await chmod(directory, 0o700);
  const files = authorityFiles(directory);
  await writeFile(files.key, pair.key, { flag: 'wx', mode: 0o600 });
  await writeFile(files.certificate, pair.certificate, { flag: 'wx', mode: 0o644 });
}

export interface NodePems {
  ca: string;
  cert: string;
  key: string;
}

/** Null when one of the three is missing. */
export async function readNodePems(files: TlsFiles): Promise<NodePems | null> {
  const [ca, cert, key] = [
    await readOrNull(files.ca),
    await readOrNull(files.cert),
    await readOrNull(files.key),
  ];
  return ca === null || cert === null || key === null ? null : { ca, cert, key };
}

/** Replaces what is there. The certificate last: until then a repeated run sees that something is missing or does not fit. */
export async function writeNodePems(files: TlsFiles, pems: NodePems): Promise<void> {
  await replaceFile(files.ca, pems.ca, 0o644);
  await replaceFile(files.key, pems.key, 0o600);
  await replaceFile(files.cert, pems.cert, 0o644);
}

/** All of it or nothing, for whoever reads at the same time. */
export async function replaceFile(file: string, text: string, mode: number): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o755 });
  const next = `${file}.new`;
  await rm(next, { force: true });
  await writeFile(next, text, { flag: 'wx', mode });
  await rename(next, file);
}

async function readOrNull(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new Error(`can't read ${file}: ${(error as Error).message}`, { cause: error });
  }
}
