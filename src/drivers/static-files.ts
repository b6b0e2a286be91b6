import { constants, type Stats } from 'node:fs';
import { open, readlink, type FileHandle } from 'node:fs/promises';
import { join, sep } from 'node:path';

/** What a path of a site leads to. A `file` has to be closed by whoever got it. */
export type Found =
  | { kind: 'file'; path: string; handle: FileHandle; stats: Stats }
  /** A directory asked for without its slash: relative links in it would go wrong. */
  | { kind: 'redirect'; location: string }
  | { kind: 'malformed' }
  | { kind: 'missing' };

/** Names with a leading dot are private, except what RFC 8615 reserves for the public. */
const PUBLIC_DOT_NAME = '.well-known';

/**
 * Looks up the path of a request target below `root` (a real path, links resolved). What lies outside, be it by `..` or
 * by a link, is missing; so are private names, devices and directories without an index.html.
 */
export async function findFile(root: string, target: string): Promise<Found> {
  const segments = segmentsOf(target);
  if (segments === null) return { kind: 'malformed' };
  if (segments.some(isPrivate)) return { kind: 'missing' };
  const found = await openInside(root, join(root, ...segments));
  if (found === null) return { kind: 'missing' };
  const { handle, stats, path } = found;
  if (stats.isFile() && !endsInSlash(target)) return { kind: 'file', path, handle, stats };
  await handle.close();
  if (!stats.isDirectory()) return { kind: 'missing' };
  if (!endsInSlash(target)) return { kind: 'redirect', location: directoryUrl(segments, target) };
  return findPage(root, join(...segments, 'index.html'));
}

/** A file of the site's own choosing: its index, or its page for what is missing. */
export async function findPage(root: string, name: string): Promise<Found> {
  const found = await openInside(root, join(root, name));
  if (found === null) return { kind: 'missing' };
  if (found.stats.isFile()) return { kind: 'file', ...found };
  await found.handle.close();
  return { kind: 'missing' };
}

/** null = not a path. */
function segmentsOf(target: string): string[] | null {
  const path = target.split(/[?#]/, 1)[0] ?? '';
  if (!path.startsWith('/')) return null;
  try {
    const segments = path.split('/').map(decodeURIComponent);
    if (segments.some(segment => segment.includes('\0') || segment.includes('/'))) return null;
    return segments.filter(segment => segment !== '');
  } catch {
    // Not percent-encoded UTF-8.
    return null;
  }
}

/**
 * Opened first and asked afterwards where it really is, so that nothing can be exchanged between the question and the
 * use. Never waits for the other end of a pipe.
 */
async function openInside(
  root: string,
  file: string,
): Promise<{ path: string; handle: FileHandle; stats: Stats } | null> {
  let handle: FileHandle;
  try {
    handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (NOT_THERE.has((error as NodeJS.ErrnoException).code ?? '')) return null;
    throw error;
  }
  try {
    const path = await readlink(`/proc/self/fd/${handle.fd}`);
    const inside = path === root || path.startsWith(root.endsWith(sep) ? root : root + sep);
    if (inside && !path.slice(root.length).split(sep).some(isPrivate)) {
      return { path, handle, stats: await handle.stat() };
    }
  } catch (error) {
    await handle.close();
    throw error;
  }
  await handle.close();
  return null;
}

const NOT_THERE = new Set(['ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP', 'ENAMETOOLONG', 'ENXIO', 'ENODEV']);

function isPrivate(segment: string): boolean {
  return segment.startsWith('.') && segment !== PUBLIC_DOT_NAME;
}

function endsInSlash(target: string): boolean {
  return (target.split(/[?#]/, 1)[0] ?? '').endsWith('/');
}

/** Put together anew, so that a target such as `//elsewhere` does not become another host. */
function directoryUrl(segments: string[], target: string): string {
  const query = target.indexOf('?');
  return `/${segments.map(encodeURIComponent).join('/')}/${query === -1 ? '' : target.slice(query)}`;
}
