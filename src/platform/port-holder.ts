import { readdir, readFile, readlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { argvOf } from './processes.ts';

/**
 * null when a server may listen on this port of 127.0.0.1; else who has it, in words: `process 812 (etcd --name x)`,
 * or `another program` when this user may not see whose it is.
 */
export async function portHolder(port: number): Promise<string | null> {
  const free = await new Promise<boolean>((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(false);
      else reject(error);
    });
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => server.close(() => resolve(true)));
  });
  return free ? null : await describeHolder(port);
}

/** Who listens on a TCP port at any address, in the same words. */
export async function describeHolder(port: number): Promise<string> {
  const inodes = await listeningInodes(port);
  for (const pid of (await readdir('/proc')).filter(entry => /^\d+$/.test(entry))) {
    const links = await readdir(`/proc/${pid}/fd`).catch(() => []);
    for (const link of links) {
      const target = await readlink(`/proc/${pid}/fd/${link}`).catch(() => '');
      if (inodes.has(target))
        return `process ${pid} (${(await argvOf(Number(pid))).join(' ').replaceAll(/\s+/g, ' ').slice(0, 120)})`;
    }
  }
  return 'another program';
}

/** As they appear behind /proc/PID/fd: `socket:[12345]`. */
async function listeningInodes(port: number): Promise<Set<string>> {
  const LISTEN = '0A';
  const hexPort = port.toString(16).toUpperCase().padStart(4, '0');
  const tables = await Promise.all(
    ['/proc/net/tcp', '/proc/net/tcp6'].map(path => readFile(path, 'utf8').catch(() => '')),
  );
  return new Set(
    tables
      .flatMap(table => table.split('\n').slice(1))
      .map(line => line.trim().split(/\s+/))
      .filter(fields => fields[3] === LISTEN && fields[1]?.endsWith(`:${hexPort}`) === true)
      .map(fields => `socket:[${fields[9] ?? ''}]`),
  );
}
