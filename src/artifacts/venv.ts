import { execFile } from 'node:child_process';
import { access, lstat, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { ArtifactError } from '../ports/artifacts.ts';
import { findOnPath } from './tools.ts';

/** The Python a virtual environment was made with. Its links to it are not packed, but made anew on each node. */
export interface VenvPython {
  /** `3.11`: compiled files and the library's folder fit this version only. */
  version: string;
  executable: string;
}

// Older kernels read only so much of a script's first line.
const MAX_SHEBANG = 127;

/** null when the tree has no `venv`. */
export async function describeVenv(directory: string): Promise<VenvPython | null> {
  if (!(await exists(join(directory, 'venv', 'pyvenv.cfg')))) return null;
  return askPython(join(directory, 'venv', 'bin', 'python'));
}

/**
 * A virtual environment has its own place written into it. Makes the one in `directory`, which was built at `from`, work
 * once it lies at `to`. @throws ArtifactError when this node has no Python of the same version
 */
export async function relocateVenv(
  directory: string,
  move: { from: string; to: string },
  python: VenvPython,
  path: string,
): Promise<void> {
  const venv = join(directory, 'venv');
  const interpreter = await findPython(python, path);
  for (const name of ['python', 'python3', `python${python.version}`]) {
    await rm(join(venv, 'bin', name), { force: true });
    await symlink(interpreter, join(venv, 'bin', name));
  }
  const configuration = await readFile(join(venv, 'pyvenv.cfg'), 'utf8');
  await writeFile(
    join(venv, 'pyvenv.cfg'),
    configuration.replace(/^home = .*$/m, `home = ${dirname(interpreter)}`).replaceAll(move.from, move.to),
  );
  for (const file of await filesWithPlaces(venv, python.version)) await rewrite(file, move);
}

async function findPython(python: VenvPython, path: string): Promise<string> {
  const candidates = [
    python.executable,
    await findOnPath(`python${python.version}`, path),
    await findOnPath('python3', path),
  ];
  for (const candidate of candidates) {
    if (candidate === null || !(await exists(candidate))) continue;
    const found = await askPython(candidate).catch(() => null);
    if (found?.version === python.version) return found.executable;
  }
  throw new ArtifactError(
    `the app was built with Python ${python.version}, which is not on this node: ` +
      `install it with \`apt install python${python.version}\`, or build on a node like this one`,
    { retryable: false },
  );
}

async function askPython(executable: string): Promise<VenvPython> {
  const program =
    'import sys; print("%d.%d" % sys.version_info[:2]); print(getattr(sys, "_base_executable", sys.executable))';
  const { stdout } = await promisify(execFile)(executable, ['-I', '-c', program], { timeout: 60_000 });
  const [version = '', base = ''] = stdout.split('\n');
  return { version, executable: base };
}

/** The scripts of `bin`, and what points Python to further folders. */
async function filesWithPlaces(venv: string, version: string): Promise<string[]> {
  const packages = join(venv, 'lib', `python${version}`, 'site-packages');
  const listed = await Promise.all([
    filesIn(join(venv, 'bin'), () => true),
    filesIn(packages, name => name.endsWith('.pth') || name.startsWith('__editable__')),
  ]);
  return listed.flat();
}

async function filesIn(directory: string, wanted: (name: string) => boolean): Promise<string[]> {
  if (!(await exists(directory))) return [];
  const paths = (await readdir(directory)).filter(wanted).map(name => join(directory, name));
  const stats = await Promise.all(paths.map(path => lstat(path)));
  return paths.filter((_path, index) => stats[index]?.isFile());
}

async function rewrite(path: string, move: { from: string; to: string }): Promise<void> {
  const content = await readFile(path);
  if (content.includes(0) || !content.includes(move.from)) return;
  const text = content.toString('utf8').replaceAll(move.from, move.to);
  await writeFile(path, basename(dirname(path)) === 'bin' ? withShortShebang(text) : text);
}

/** The form pip itself uses for interpreters whose path is too long for the kernel. */
function withShortShebang(text: string): string {
  const end = text.indexOf('\n');
  if (!text.startsWith('#!/') || end <= MAX_SHEBANG) return text;
  return `#!/bin/sh\n'''exec' "${text.slice(2, end)}" "$0" "$@"\n' '''${text.slice(end)}`;
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
