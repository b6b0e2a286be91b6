import { createReadStream } from 'node:fs';
import { lstat, mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { SourceSpec } from '../model/app-spec.ts';
import type { Digest } from '../model/ids.ts';
import { ArtifactError } from '../ports/artifacts.ts';
import type { Clock } from '../ports/clock.ts';
import type { ArchiveLimits } from './archive.ts';
import type { ContentStore } from './cas.ts';
import { runCommand, withoutCredentials } from './command.ts';
import { packDirectory } from './pack.ts';
import { saveStream } from './save-stream.ts';
import { untilStalled } from './stall.ts';
import { requireTool } from './tools.ts';
import { unpackArchive } from './unpack.ts';

export interface SourceRoom {
  store: ContentStore;
  clock: Clock;
  limits: ArchiveLimits & { maxSourceBytes: number; commandSeconds: number; stallSeconds: number };
  env: Record<string, string> & { PATH: string; HOME: string };
}

/**
 * Brings a source into the store as a packed tree and gives its digest; the same tree has the same digest wherever it
 * came from. `work` is an empty directory for it to use. @throws ArtifactError
 */
export async function obtainSource(
  source: SourceSpec,
  room: SourceRoom,
  options: { work: string; ignore: string[]; note: (text: string) => void; signal: AbortSignal },
): Promise<Digest> {
  switch (source.kind) {
    case 'uploaded':
      if (await room.store.has(source.digest)) return source.digest;
      throw new ArtifactError(`the source tree ${source.digest} is not on this node`, { retryable: true });
    case 'path':
      throw new ArtifactError(
        `the source ${source.path} is a directory on another machine: the command line has to upload it first`,
        { retryable: false },
      );
    case 'git':
      return keepTree(await cloneGit(source, room, options), room, options);
    case 'archive':
      return keepTree(await downloadArchive(source, room, options), room, options);
  }
}

type Options = Parameters<typeof obtainSource>[2];

async function keepTree(directory: string, room: SourceRoom, options: Options): Promise<Digest> {
  const packed = await packDirectory(directory, {
    ignore: options.ignore,
    // What is in a repository or a release archive was put there on purpose.
    gitignore: false,
    maxBytes: room.limits.maxSourceBytes,
    into: options.work,
    signal: options.signal,
  });
  await room.store.adopt(packed.filePath, packed.digest);
  return packed.digest;
}

const GIT_URL = /^(https?|ssh|file):\/\/[^-\s]\S*$/;
const SCP_LIKE = /^[\w.][\w.-]*@[\w.][\w.-]*:[^-:\s]\S*$/;
const GIT_REF = /^[A-Za-z0-9_][\w./+@-]*$/;

async function cloneGit(
  source: SourceSpec & { kind: 'git' },
  room: SourceRoom,
  options: Options,
): Promise<string> {
  const { url, ref } = source;
  if (!GIT_URL.test(url) && !SCP_LIKE.test(url)) {
    throw new ArtifactError(`"${url}" is no git address: use https://, http://, ssh:// or file://`, {
      retryable: false,
    });
  }
  if (!GIT_REF.test(ref)) {
    throw new ArtifactError(`"${ref}" is no git ref: use a branch, a tag or a commit`, { retryable: false });
  }
  await requireTool('git', room.env.PATH, 'a git source');
  const directory = join(options.work, 'clone');
  await mkdir(directory);
  const env = {
    ...room.env,
    GIT_TERMINAL_PROMPT: '0',
    GIT_ASKPASS: '/bin/false',
    GIT_SSH_COMMAND: 'ssh -oBatchMode=yes',
    GIT_ALLOW_PROTOCOL: 'http:https:ssh:file',
  };
  options.note(`git: ${ref} of ${withoutCredentials(url)}`);
  // Fetching instead of cloning takes branches, tags and commits alike.
  for (const step of [
    ['init', '--quiet', '--template='],
    ['fetch', '--quiet', '--depth', '1', '--no-tags', '--', url, ref],
    ['-c', 'core.hooksPath=/dev/null', 'checkout', '--quiet', '--detach', 'FETCH_HEAD'],
  ]) {
    const command = {
      text: `git ${step.join(' ')}`,
      file: 'git',
      arguments: step,
      directory,
      env,
      timeoutSeconds: room.limits.commandSeconds,
    };
    await runCommand(command, room.clock, options.note, options.signal).catch((error: unknown) => {
      if (!(error instanceof ArtifactError) || step[0] !== 'fetch') throw error;
      // After what was fatal, git gives advice over several lines.
      const why =
        error.output.find(line => line.startsWith('fatal: ')) ?? error.output.at(-1) ?? error.message;
      const message = `cannot fetch ${ref} of ${withoutCredentials(url)}: ${why.replace(/^fatal: /, '')}`;
      throw new ArtifactError(message, { retryable: true, output: error.output, cause: error });
    });
  }
  return directory;
}

async function downloadArchive(
  source: SourceSpec & { kind: 'archive' },
  room: SourceRoom,
  options: Options,
): Promise<string> {
  const file = join(options.work, 'download');
  const url = withoutCredentials(source.url);
  options.note(`archive: ${url}`);
  const expected = source.sha256.toLowerCase().replace(/^sha256:/, '');
  const body = await openUrl(source.url, room, options.signal);
  const { digest } = await saveStream(body, file, room.limits.maxSourceBytes).catch((error: unknown) => {
    options.signal.throwIfAborted();
    throw cannotGet(url, error);
  });
  if (digest !== `sha256:${expected}`) {
    throw new ArtifactError(`${url} has ${digest}, but the manifest expects sha256:${expected}`, {
      retryable: false,
    });
  }
  await requireGzip(file, url);
  const directory = join(options.work, 'archive');
  await unpackArchive(createReadStream(file) as AsyncIterable<Buffer>, directory, {
    limits: room.limits,
    signal: options.signal,
  });
  await rm(file);
  return singleDirectoryIn(directory);
}

async function openUrl(
  url: string,
  room: SourceRoom,
  signal: AbortSignal,
): Promise<AsyncIterable<Uint8Array>> {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (parsed?.protocol === 'file:') return createReadStream(fileURLToPath(parsed)) as AsyncIterable<Buffer>;
  if (parsed?.protocol !== 'http:' && parsed?.protocol !== 'https:') {
    throw new ArtifactError(`"${url}" is no archive address: use https://, http:// or file://`, {
      retryable: false,
    });
  }
  const slow = new AbortController();
  const stopWaiting = room.clock.after(room.limits.stallSeconds * 1000, () =>
    slow.abort(new Error(`no answer within ${room.limits.stallSeconds} s`)),
  );
  const response = await fetch(parsed, { signal: AbortSignal.any([signal, slow.signal]) })
    .catch((error: unknown) => {
      signal.throwIfAborted();
      throw cannotGet(url, error);
    })
    .finally(stopWaiting);
  if (!response.ok || response.body === null) {
    throw new ArtifactError(`cannot get ${withoutCredentials(url)}: HTTP ${response.status}`, {
      retryable: response.status >= 500,
    });
  }
  return untilStalled(
    response.body as AsyncIterable<Uint8Array>,
    room.clock,
    room.limits.stallSeconds * 1000,
    signal,
  );
}

async function requireGzip(path: string, url: string): Promise<void> {
  const file = await open(path, 'r');
  const { buffer } = await file.read(Buffer.alloc(2), 0, 2, 0).finally(() => file.close());
  if (buffer[0] === 0x1f && buffer[1] === 0x8b) return;
  const what = buffer.toString('latin1') === 'PK' ? 'a zip file' : 'no gzipped tar file';
  throw new ArtifactError(`${url} is ${what}: use a .tar.gz or .tgz`, { retryable: false });
}

/** Release archives have everything below one directory, as in `app-1.2/`. */
async function singleDirectoryIn(directory: string): Promise<string> {
  const [only, ...others] = await readdir(directory);
  if (only === undefined || others.length > 0) return directory;
  const path = join(directory, only);
  return (await lstat(path)).isDirectory() ? path : directory;
}

function cannotGet(what: string, error: unknown): ArtifactError {
  const { message, cause } = error as Error;
  const reason = cause instanceof Error ? cause.message : message;
  const retryable = error instanceof ArtifactError ? error.retryable : true;
  return new ArtifactError(`cannot get ${withoutCredentials(what)}: ${reason}`, { retryable, cause: error });
}
