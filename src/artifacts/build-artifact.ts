import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve, sep } from 'node:path';
import { ArtifactError } from '../ports/artifacts.ts';

const FILE = 'BUILD_ARTIFACT.json';

/**
 * What a build says about its result, in Hop3's own format (its ADR 035): the run phase reads this file and
 * nothing else of the language.
 */
export interface BuildArtifact {
  kind: string;
  builder: string;
  app_name: string;
  built_at: string;
  build_id: string;
  /** Where it was built; after unpacking, where it is. Paths below it move with it. */
  location: string;
  metadata: Record<string, unknown>;
  runtime: {
    env_vars: Record<string, string>;
    /** Below `location`. */
    path_prepend: string[];
    working_dir: string;
    workers: Record<string, string>;
    before_run: string[];
    static_paths: Record<string, string>;
    healthcheck_path: string;
    healthcheck_timeout: number;
  };
}

export async function writeBuildArtifact(directory: string, artifact: BuildArtifact): Promise<void> {
  await writeFile(join(directory, FILE), `${JSON.stringify(artifact, null, 2)}\n`);
}

/** null when there is none: the artifact is a source tree that runs as it is. @throws ArtifactError when it is damaged */
export async function readBuildArtifact(directory: string): Promise<BuildArtifact | null> {
  const text = await readFile(join(directory, FILE), 'utf8').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return null;
  });
  if (text === null) return null;
  try {
    return completed(JSON.parse(text) as Partial<BuildArtifact>);
  } catch (error) {
    throw new ArtifactError(`${FILE} cannot be read: ${(error as Error).message}`, {
      retryable: false,
      cause: error,
    });
  }
}

/** The same artifact, lying at `to`. */
export function movedTo(artifact: BuildArtifact, to: string): BuildArtifact {
  const { location, runtime } = artifact;
  const move = (path: string) => moved(path, location, to);
  return {
    ...artifact,
    location: to,
    runtime: {
      ...runtime,
      env_vars: Object.fromEntries(
        Object.entries(runtime.env_vars).map(([name, value]) => [name, move(value)]),
      ),
      path_prepend: runtime.path_prepend.map(path => resolve(to, move(path))),
      working_dir: resolve(to, move(runtime.working_dir)),
    },
  };
}

function moved(path: string, from: string, to: string): string {
  if (from === '' || (path !== from && !path.startsWith(from + sep))) return path;
  return to + path.slice(from.length);
}

/** Files written by other builders may lack what they do not need. */
function completed(read: Partial<BuildArtifact>): BuildArtifact {
  const runtime: Partial<BuildArtifact['runtime']> = read.runtime ?? {};
  const location = text('location', read.location ?? '');
  return {
    kind: read.kind ?? 'unknown',
    builder: read.builder ?? 'unknown',
    app_name: read.app_name ?? '',
    built_at: read.built_at ?? '',
    build_id: read.build_id ?? '',
    location,
    metadata: read.metadata ?? {},
    runtime: {
      env_vars: texts(runtime.env_vars ?? {}),
      path_prepend: Object.values(texts(runtime.path_prepend ?? [])),
      working_dir: text('working_dir', runtime.working_dir ?? location),
      workers: texts(runtime.workers ?? {}),
      before_run: Object.values(texts(runtime.before_run ?? [])),
      static_paths: texts(runtime.static_paths ?? {}),
      healthcheck_path: runtime.healthcheck_path ?? '/',
      healthcheck_timeout: runtime.healthcheck_timeout ?? 60,
    },
  };
}

function texts(values: object): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]: [string, unknown]) => [name, text(name, value)]),
  );
}

function text(name: string, value: unknown): string {
  if (typeof value !== 'string') throw new TypeError(`${name} is not a text`);
  return value;
}
