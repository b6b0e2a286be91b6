import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { installAsRoot } from '../../src/platform/apt-install.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');
const requirements = ['manifests/worker/requirements.txt', 'test/rpc/requirements.txt'].map(file =>
  join(root, file),
);

/** Where `worker.py` and what drives the tests find `hop3agent.proto`. */
export const pythonEnvironment = { ...process.env, PYTHONPATH: join(root, 'src/rpc'), PYTHONUNBUFFERED: '1' };

/**
 * A Python with the gRPC packages in exactly the versions that are named, made once and kept below `.cache`.
 * @throws Error when it can't be made
 */
export async function pythonWithGrpc(): Promise<string> {
  const texts = await Promise.all(requirements.map(file => readFile(file, 'utf8')));
  const name = createHash('sha256').update(texts.join()).digest('hex').slice(0, 16);
  const directory = join(root, '.cache/python-grpc', name);
  const python = join(directory, 'bin/python3');
  if (await exists(python)) return python;
  await provideVenv();
  // Made elsewhere and moved: half of one is never found, however many make it at once.
  const making = `${directory}.${process.pid}`;
  await mkdir(join(root, '.cache/python-grpc'), { recursive: true });
  await rm(making, { recursive: true, force: true });
  await run('python3', ['-m', 'venv', making]);
  const install = [
    '-m',
    'pip',
    'install',
    '--quiet',
    '--disable-pip-version-check',
    '--only-binary',
    ':all:',
  ];
  await run(join(making, 'bin/python3'), [...install, ...requirements.flatMap(file => ['-r', file])]);
  await rename(making, directory).catch(async (error: unknown) => {
    await rm(making, { recursive: true, force: true });
    if (!(await exists(python))) throw error;
  });
  return python;
}

/** Debian keeps `venv` in a package of its own. */
async function provideVenv(): Promise<void> {
  const works = await run('python3', ['-c', 'import venv, ensurepip']).then(
    () => true,
    () => false,
  );
  if (works) return;
  const environment = { PATH: process.env['PATH'] ?? '' };
  await installAsRoot({ package: 'python3-venv', service: null, env: environment, signal: undefined });
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
