import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, delimiter, join } from 'node:path';
import type { AppSpec } from '../model/app-spec.ts';
import type { Digest } from '../model/ids.ts';
import type { ArtifactRef } from '../model/records.ts';
import { ArtifactError, type BuildNote } from '../ports/artifacts.ts';
import { writeBuildArtifact } from './build-artifact.ts';
import { cacheKey, recall, remember } from './build-cache.ts';
import { literalEnv } from './build-environment.ts';
import { runCommand, shellCommand } from './command.ts';
import { packTree } from './pack.ts';
import { obtainSource, type SourceRoom } from './source.ts';
import { toolchainFor } from './toolchains/detect.ts';
import type { Recipe, Toolchain } from './toolchains/toolchain.ts';
import { unpackArchive } from './unpack.ts';
import { describeVenv } from './venv.ts';

export interface BuildRoom extends SourceRoom {
  /** Where builds are made; everything in it is disposable. */
  buildsDirectory: string;
  /** Where results are remembered by what went into them. */
  cacheDirectory: string;
  platform: string;
  /** Names what this run of the agent is making. */
  run: string;
}

interface Task {
  spec: AppSpec;
  room: BuildRoom;
  note: (note: BuildNote) => void;
  signal: AbortSignal;
}

/**
 * The artifact of a spec: its source as it is when there is nothing to build, else the built tree with its
 * BUILD_ARTIFACT.json. What was built before from the same source in the same way is not built again. @throws ArtifactError
 */
export async function buildArtifact(
  spec: AppSpec,
  room: BuildRoom,
  note: (note: BuildNote) => void,
  signal: AbortSignal,
): Promise<ArtifactRef> {
  if (spec.build.builder === 'docker' || spec.build.builder === 'nix') {
    throw new ArtifactError(`the builder "${spec.build.builder}" is not supported: use auto, local or none`, {
      retryable: false,
    });
  }
  return inWorkDirectory(room, note, async work => {
    const task = { spec, room, note, signal };
    const source = await sourceInto(work, task);
    return buildSource(source, join(work, 'src'), task);
  });
}

/** What was made before, here, of that source in the same way; null = it is not known, or not here any more. */
export function builtBefore(source: Digest, spec: AppSpec, room: BuildRoom): Promise<ArtifactRef | null> {
  const keys = [true, false].map(made => cacheKey(source, spec, room.platform, made));
  return recall(room.cacheDirectory, keys, room.store);
}

/** Brings the spec's source into the store. @throws ArtifactError */
export function obtainArtifactSource(
  spec: AppSpec,
  room: BuildRoom,
  note: (note: BuildNote) => void,
  signal: AbortSignal,
): Promise<Digest> {
  return inWorkDirectory(room, note, work => sourceInto(work, { spec, room, note, signal }));
}

async function inWorkDirectory<T>(
  room: BuildRoom,
  note: (note: BuildNote) => void,
  use: (work: string) => Promise<T>,
): Promise<T> {
  await mkdir(room.buildsDirectory, { recursive: true });
  await mkdir(room.env.HOME, { recursive: true });
  const work = await mkdtemp(join(room.buildsDirectory, `${room.run}-`));
  try {
    return await use(work);
  } finally {
    if (!(await removed(work))) {
      // From now on it counts as what a crash left.
      await rename(work, join(room.buildsDirectory, `old-${basename(work)}`));
      note({
        step: 'build',
        text: 'something still writes in the directory it was made in, which stays for now',
      });
    }
  }
}

/** False when something that left the process group of its command still writes there: no build has failed for that. */
async function removed(directory: string): Promise<boolean> {
  try {
    await rm(directory, { recursive: true, force: true });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOTEMPTY') throw error;
    return false;
  }
}

async function sourceInto(work: string, { spec, room, note, signal }: Task): Promise<Digest> {
  const { app, source, build } = spec;
  if (source === null) throw new ArtifactError(`${app} has no source to build`, { retryable: false });
  return obtainSource(source, room, {
    work,
    ignore: build.ignore,
    note: text => note({ step: 'fetch', text }),
    signal,
  });
}

/** Removes what a crash left half-built, and what could not be removed when it was done with. */
export async function removeOldBuilds(room: BuildRoom): Promise<void> {
  for (const name of await readdir(room.buildsDirectory).catch(() => [])) {
    if (!name.startsWith(room.run)) await removed(join(room.buildsDirectory, name));
  }
}

async function buildSource(source: Digest, directory: string, task: Task): Promise<ArtifactRef> {
  const { spec, room, note, signal } = task;
  const asItIs = async () => ({
    digest: source,
    bytes: (await room.store.read(source)).bytes,
    platform: null,
  });
  if (spec.build.builder === 'none') return asItIs();
  const before = await builtBefore(source, spec, room);
  if (before) {
    note({ step: 'build', text: `built before: ${before.digest}` });
    return before;
  }
  await unpackArchive((await room.store.read(source)).stream, directory, {
    limits: room.limits,
    digest: source,
    signal,
  });
  const built = await runBuild(directory, task);
  const key = cacheKey(source, spec, room.platform, built !== null);
  const result = built === null ? await asItIs() : await keepBuilt(directory, built, { source, key }, task);
  await remember(room.cacheDirectory, key, result);
  return result;
}

/** null when there was nothing to do. */
async function runBuild(
  directory: string,
  task: Task,
): Promise<{ toolchain: Toolchain; recipe: Recipe } | null> {
  const { spec, room } = task;
  const { PATH, HOME } = room.env;
  const plainEnv = { ...room.env, ...literalEnv(spec), PATH, HOME };
  await runAll(spec.build.beforeBuild, directory, plainEnv, task);
  // Only now: what is built may have been downloaded by a command before.
  const toolchain = await toolchainFor(directory, spec);
  const recipe = await toolchain.recipe(directory, spec, room.env.PATH);
  const { beforeBuild, afterBuild } = spec.build;
  if (recipe.commands.length + beforeBuild.length + afterBuild.length === 0) return null;
  task.note({ step: 'build', text: `building as a ${toolchain.name} app` });
  const env = {
    ...plainEnv,
    ...recipe.env,
    ...('VIRTUAL_ENV' in recipe.env ? { VIRTUAL_ENV: join(directory, 'venv') } : {}),
    PATH: [...recipe.pathPrepend.map(path => join(directory, path)), room.env.PATH].join(delimiter),
  };
  await runAll(recipe.commands, directory, env, task);
  for (const [path, text] of Object.entries(recipe.executables ?? {})) {
    await writeFile(join(directory, path), text, { mode: 0o755 });
  }
  await runAll(afterBuild, directory, env, task);
  return { toolchain, recipe };
}

async function runAll(
  commands: string[],
  directory: string,
  env: Record<string, string>,
  task: Task,
): Promise<void> {
  const timeoutSeconds = task.room.limits.commandSeconds;
  for (const text of commands) {
    task.note({ step: 'build', text: `$ ${text}` });
    const command = shellCommand(text, { directory, env, timeoutSeconds });
    await runCommand(command, task.room.clock, line => task.note({ step: 'build', text: line }), task.signal);
  }
}

async function keepBuilt(
  directory: string,
  built: { toolchain: Toolchain; recipe: Recipe },
  inputs: { source: Digest; key: string },
  task: Task,
): Promise<ArtifactRef> {
  const { room, spec } = task;
  await describeBuild(directory, built, inputs, task);
  const packed = await packTree(directory, {
    include: path => path !== '.git',
    onLinkOut: (path, target) => {
      // The interpreter is each node's own; it is linked again where the artifact is unpacked.
      if (path.startsWith('venv/bin/python')) return;
      throw new ArtifactError(
        `the build of ${spec.app} made a link out of its directory: ${path} to ${target}`,
        {
          retryable: false,
        },
      );
    },
    keepTimes: true,
    maxBytes: room.limits.maxBytes,
    into: join(directory, '..'),
    signal: task.signal,
  });
  const { digest, bytes } = await room.store.adopt(packed.filePath, packed.digest);
  task.note({ step: 'pack', text: `${digest}, ${bytes} bytes` });
  return { digest, bytes, platform: room.platform };
}

async function describeBuild(
  directory: string,
  { toolchain, recipe }: { toolchain: Toolchain; recipe: Recipe },
  inputs: { source: Digest; key: string },
  { room, spec }: Task,
): Promise<void> {
  const python = await describeVenv(directory);
  const absolute = (path: string) => join(directory, path);
  await writeBuildArtifact(directory, {
    kind: toolchain.name,
    builder: 'local',
    app_name: spec.app,
    built_at: room.clock.timestamp(),
    build_id: inputs.key.slice(0, 32),
    location: directory,
    metadata: { source: inputs.source, platform: room.platform, ...(python ? { python } : {}) },
    runtime: {
      env_vars: { ...recipe.runtimeEnv, ...(python ? { VIRTUAL_ENV: absolute('venv') } : {}) },
      path_prepend: recipe.pathPrepend.map(absolute),
      working_dir: directory,
      // What builders may say, and ours do not: commands and checks are the manifest's.
      workers: {},
      before_run: [],
      static_paths: {},
      healthcheck_path: '/',
      healthcheck_timeout: 60,
    },
  });
}
