import { randomBytes } from 'node:crypto';
import { mkdir, readFile, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Digest } from '../model/ids.ts';
import { ArtifactError, type UnpackedArtifact } from '../ports/artifacts.ts';
import type { ArchiveLimits } from './archive.ts';
import { movedTo, readBuildArtifact, writeBuildArtifact, type BuildArtifact } from './build-artifact.ts';
import { goCaches } from './build-environment.ts';
import type { ContentStore } from './cas.ts';
import { unpackArchive } from './unpack.ts';
import { relocateVenv, type VenvPython } from './venv.ts';

export interface ReleaseRoom {
  store: ContentStore;
  limits: ArchiveLimits;
  /** `<state directory>/apps` */
  appsDirectory: string;
  cacheDirectory: string;
  path: string;
  /** Names what this run of the agent is making. */
  run: string;
}

/**
 * The tree of one release in `<app>/releases/<release>/src`, unpacked when it is not there yet or holds another
 * digest; and the app's own `<app>/data`, which is `../data` for the tree, as in Hop3. @throws ArtifactError
 */
export async function unpackRelease(
  digest: Digest,
  app: string,
  release: number,
  room: ReleaseRoom,
): Promise<UnpackedArtifact> {
  const releases = join(room.appsDirectory, checkedApp(app), 'releases');
  const dataDirectory = join(room.appsDirectory, app, 'data');
  await mkdir(releases, { recursive: true });
  await mkdir(dataDirectory, { mode: 0o750 }).catch(unlessThere);
  const final = join(releases, String(release));
  const directory = join(final, 'src');
  if ((await notedDigest(final)) !== digest) {
    const { stream } = await room.store.read(digest);
    const temporary = join(releases, `.${room.run}-${release}-${randomBytes(6).toString('hex')}`);
    await mkdir(temporary);
    try {
      await unpackArchive(stream, join(temporary, 'src'), {
        limits: room.limits,
        digest,
        prepare: tree => settle(tree, directory, room),
      });
      await symlink(join('..', '..', 'data'), join(temporary, 'data'));
      await writeFile(join(temporary, 'digest'), digest);
      await replace(final, temporary);
    } catch (error) {
      await rm(temporary, { recursive: true, force: true });
      throw error;
    }
  }
  return { directory, dataDirectory, ...described(await readBuildArtifact(directory), room) };
}

/** A release that is unpacked here. */
export interface ReleaseHere {
  app: string;
  release: number;
  /** Absolute. */
  directory: string;
}

/** Those that are unpacked here; what a crash left half-done is removed on the way. */
export async function releasesHere(room: ReleaseRoom): Promise<ReleaseHere[]> {
  const found: ReleaseHere[] = [];
  for (const app of await namesIn(room.appsDirectory)) {
    const releases = join(room.appsDirectory, app, 'releases');
    for (const name of await namesIn(releases)) {
      const directory = join(releases, name);
      if (/^\d+$/.test(name)) found.push({ app, release: Number(name), directory });
      else if (!name.startsWith(`.${room.run}-`)) await rm(directory, { recursive: true, force: true });
    }
  }
  return found;
}

/** Makes a built tree fit the place it will have. */
async function settle(tree: string, directory: string, room: ReleaseRoom): Promise<void> {
  const artifact = await readBuildArtifact(tree);
  if (artifact === null) return;
  const python = pythonOf(artifact);
  if (python) await relocateVenv(tree, { from: artifact.location, to: directory }, python, room.path);
  await writeBuildArtifact(tree, movedTo(artifact, directory));
}

function pythonOf(artifact: BuildArtifact): VenvPython | null {
  const python = artifact.metadata['python'] as Partial<VenvPython> | undefined;
  const { version, executable } = python ?? {};
  if (typeof version !== 'string' || typeof executable !== 'string') return null;
  return /^\d+\.\d+$/.test(version) ? { version, executable } : null;
}

function described(
  artifact: BuildArtifact | null,
  room: ReleaseRoom,
): Pick<UnpackedArtifact, 'env' | 'pathPrepend'> {
  if (artifact === null) return { env: {}, pathPrepend: [] };
  const { env_vars: env, path_prepend: pathPrepend } = artifact.runtime;
  return {
    env: artifact.kind === 'go' ? { ...goCaches(room.cacheDirectory), ...env } : env,
    pathPrepend,
  };
}

/** A directory cannot be replaced by a rename: between the two there is none, never half of one. */
async function replace(final: string, temporary: string): Promise<void> {
  const old = `${temporary}-old`;
  await rename(final, old).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  });
  await rename(temporary, final);
  await rm(old, { recursive: true, force: true });
}

function unlessThere(error: unknown): void {
  if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
}

function notedDigest(final: string): Promise<string | null> {
  return readFile(join(final, 'digest'), 'utf8').catch(() => null);
}

async function namesIn(directory: string): Promise<string[]> {
  return readdir(directory).catch((error: unknown) => {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw error;
  });
}

function checkedApp(app: string): string {
  if (/^[a-z][a-z0-9-]*$/.test(app)) return app;
  throw new ArtifactError(`"${app}" is no name of an app`, { retryable: false });
}
