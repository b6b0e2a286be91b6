import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AppSpec } from '../model/app-spec.ts';
import type { Digest } from '../model/ids.ts';
import type { ArtifactRef } from '../model/records.ts';
import { literalEnv } from './build-environment.ts';
import type { ContentStore } from './cas.ts';
import { goRunTargets } from './toolchains/go.ts';

// Raised when the same input would give another result.
const RECIPE_VERSION = 1;

/**
 * Of everything that a build's result depends on, and of nothing else. Where nothing has to be built (`made` false) the name of
 * the app makes no difference.
 */
export function cacheKey(source: Digest, spec: AppSpec, platform: string, made: boolean): string {
  const { build, processes } = spec;
  const env = Object.entries(literalEnv(spec)).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const kinds = processes.map(process => process.kind).toSorted();
  const input = {
    version: RECIPE_VERSION,
    source,
    ...(made ? { app: spec.app } : {}),
    build,
    env,
    kinds,
    goRun: goRunTargets(spec),
    platform,
  };
  return createHash('sha256').update(JSON.stringify(input)).digest('hex');
}

/** The first that there is; null when it was not built before, or the result is not here any more. */
export async function recall(
  directory: string,
  keys: string[],
  store: ContentStore,
): Promise<ArtifactRef | null> {
  for (const key of keys) {
    const ref = await readRef(join(directory, `${key}.json`));
    if (ref !== null && (await store.has(ref.digest))) return ref;
  }
  return null;
}

export async function remember(directory: string, key: string, ref: ArtifactRef): Promise<void> {
  await mkdir(directory, { recursive: true });
  const path = join(directory, `${key}.json`);
  const temporary = `${path}.${randomBytes(6).toString('hex')}`;
  await writeFile(temporary, JSON.stringify(ref));
  await rename(temporary, path);
}

/** Drops what is remembered of artifacts that are gone. */
export async function forgetLost(directory: string, store: ContentStore): Promise<void> {
  const names = await readdir(directory).catch(() => []);
  for (const name of names) {
    const ref = await readRef(join(directory, name));
    if (ref === null || !(await store.has(ref.digest))) await rm(join(directory, name), { force: true });
  }
}

/** What cannot be read was not built before. */
async function readRef(path: string): Promise<ArtifactRef | null> {
  try {
    const ref = JSON.parse(await readFile(path, 'utf8')) as Partial<ArtifactRef>;
    const { digest, bytes, platform } = ref;
    if (digest === undefined || bytes === undefined || platform === undefined) return null;
    return { digest, bytes, platform };
  } catch {
    return null;
  }
}
