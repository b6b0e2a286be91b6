import { createHash } from 'node:crypto';
import { mkdir, open, readFile, rename, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** HAProxy binds under a longer, temporary name first, which has to fit into the 107 bytes of a socket's address. */
const SOCKET_BYTES_MAX = 90;
const OUTPUT_BYTES_MAX = 1024 * 1024;
const FEWEST_CONNECTIONS = 100;
const MOST_CONNECTIONS = 20_000;

/**
 * Where the runtime socket goes: beside the configuration, or, where that path is too long for a socket or needs
 * quoting, into a directory of our own below /tmp that the path determines.
 * @throws Error when that directory is somebody else's
 */
export async function socketPath(directory: string): Promise<string> {
  const path = join(directory, 'admin.sock');
  if (Buffer.byteLength(path) <= SOCKET_BYTES_MAX && /^[\w./-]+$/.test(path)) return path;
  const key = createHash('sha256').update(directory).digest('hex').slice(0, 16);
  const short = `/tmp/hop3-proxy-${key}`;
  await mkdir(short, { recursive: true, mode: 0o700 });
  const { uid, mode } = await stat(short);
  if (uid !== process.getuid?.() || (mode & 0o077) !== 0) {
    throw new Error(`${short} is open to others: remove it, or choose a state directory with a shorter path`);
  }
  return join(short, 'admin.sock');
}

/** Each file whole or not at all: HAProxy may be reading. */
export async function writeFiles(directory: string, files: Record<string, string>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    const path = join(directory, name);
    await writeFile(`${path}.new`, text, { mode: 0o600 });
    await rename(`${path}.new`, path);
  }
}

/** The newest lines of what HAProxy wrote, oldest first. */
export async function lastOutput(path: string, count: number): Promise<string[]> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const length = Math.min(size, 16 * 1024);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
    return buffer.toString('utf8', 0, bytesRead).split('\n').filter(Boolean).slice(-count);
  } finally {
    await file.close();
  }
}

/** HAProxy keeps the file open for appending, so it is emptied in place; its lines are about servers going up and down. */
export async function limitOutput(path: string): Promise<void> {
  const size = await stat(path).then(
    stats => stats.size,
    () => 0,
  );
  if (size > OUTPUT_BYTES_MAX) await truncate(path);
}

/** What the limit on open files allows: two for each connection through the proxy, one for each server's check, the rest for itself. */
export async function connectionsMax(servers: number): Promise<number> {
  const limits = await readFile('/proc/self/limits', 'utf8');
  const hard = Number(/^Max open files\s+\S+\s+(\d+)/m.exec(limits)?.[1] ?? Infinity);
  return Math.max(FEWEST_CONNECTIONS, Math.min(MOST_CONNECTIONS, Math.floor((hard - servers - 500) / 2)));
}

/** Debian's package has a user for the workers; without root nobody can be changed to. */
export async function workerUser(): Promise<string | null> {
  if (process.getuid?.() !== 0) return null;
  const users = await readFile('/etc/passwd', 'utf8');
  return /^haproxy:/m.test(users) ? 'haproxy' : null;
}
