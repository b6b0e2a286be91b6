import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { installAsRoot } from '../../src/platform/apt-install.ts';
import type { Tool } from '../../src/platform/tool.ts';
import { provideTool } from '../../src/platform/tools.ts';
import { FakeLog } from './fake-log.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');
const requirements = ['manifests/worker/requirements.txt', 'test/rpc/requirements.txt'].map(file =>
  join(root, file),
);

/** Unpacked for whoever may not install it. It is a Python that has pip. */
const unpackedPython: Tool = {
  name: 'python3-pip',
  package: 'python3-pip',
  program: 'usr/bin/python3',
  version: { arguments: ['-m', 'pip', '--version'], answer: /^pip (\S+)/ },
  environment: home => ({ PYTHONHOME: join(home, 'usr') }),
  service: null,
  newest: false,
  advice: 'install python3 with pip',
};

export interface Python {
  program: string;
  /** Where it finds the gRPC packages, and `worker.py` and what drives the tests `hop3agent.proto`. */
  env: NodeJS.ProcessEnv;
}

/**
 * A Python with the gRPC packages in exactly the versions that are named, fetched once and kept below `.cache`.
 * @throws Error when it can't be had
 */
export async function pythonWithGrpc(): Promise<Python> {
  const program = await pythonWithPip();
  const { stdout: version } = await run(program, ['--version']);
  const texts = await Promise.all(requirements.map(file => readFile(file, 'utf8')));
  const name = createHash('sha256')
    .update([version, ...texts].join())
    .digest('hex')
    .slice(0, 16);
  const packages = join(root, '.cache/python-grpc', name);
  const env = {
    ...process.env,
    PYTHONPATH: [join(root, 'src/rpc'), packages].join(':'),
    PYTHONUNBUFFERED: '1',
  };
  if (!(await exists(packages))) await fetchPackages(program, packages);
  return { program, env };
}

/** Fetched elsewhere and moved: half of them are never found, however many fetch them at once. */
async function fetchPackages(program: string, packages: string): Promise<void> {
  const fetching = `${packages}.${process.pid}`;
  await mkdir(join(root, '.cache/python-grpc'), { recursive: true });
  await rm(fetching, { recursive: true, force: true });
  const install = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check'];
  const which = ['--only-binary', ':all:', ...requirements.flatMap(file => ['-r', file])];
  await run(program, [...install, ...which, '--target', fetching]);
  await rename(fetching, packages).catch(async (error: unknown) => {
    await rm(fetching, { recursive: true, force: true });
    if (!(await exists(packages))) throw error;
  });
}

async function pythonWithPip(): Promise<string> {
  if (await hasPip()) return 'python3';
  const env = { PATH: process.env['PATH'] ?? '' };
  if (process.getuid?.() !== 0) {
    const stateDir = join(root, '.cache');
    return (await provideTool({ tool: unpackedPython, stateDir, log: new FakeLog(), env })).path;
  }
  await installAsRoot({ package: 'python3-pip', service: null, env, signal: undefined });
  return 'python3';
}

function hasPip(): Promise<boolean> {
  return run('python3', ['-m', 'pip', '--version']).then(
    () => true,
    () => false,
  );
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
