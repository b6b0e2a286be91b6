import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { AppSpec } from '../../model/app-spec.ts';
import { missingTool, requireTool } from '../tools.ts';
import { has, quoted, textIn, type Toolchain } from './toolchain.ts';

/**
 * A virtual environment in `venv` with requirements.txt, or else the project itself, installed; plus `build.pip-install`,
 * plus gunicorn when a `wsgi` process wants it. An app whose own commands call pip is left to do so, inside that
 * environment.
 */
export const pythonToolchain: Toolchain = {
  name: 'python',
  recognises: async directory =>
    (await has(directory, 'requirements.txt')) ||
    (await has(directory, 'pyproject.toml')) ||
    (await has(directory, 'setup.py')),
  async recipe(directory, spec, path) {
    await requireVenv(await requireTool('python3', path, 'a Python app'), path);
    return {
      commands: ['python3 -m venv --clear venv', ...(await commandsFor(directory, spec))],
      env: { VIRTUAL_ENV: 'venv' },
      pathPrepend: ['venv/bin'],
      runtimeEnv: { PYTHONUNBUFFERED: '1' },
    };
  },
};

const INSTALLS = /\b(pip3?\s+install|uv\s+(pip|sync)|poetry\s+install)\b/;

async function commandsFor(directory: string, spec: AppSpec): Promise<string[]> {
  const own = spec.build.build;
  const extras = spec.build.pipInstall.map(pipArgument).join(' ');
  return [
    ...(own.some(command => INSTALLS.test(command)) ? [] : await installCommands(directory)),
    ...(extras === '' ? [] : [`pip install ${extras}`]),
    ...own,
    ...(spec.processes.some(process => process.kind === 'wsgi')
      ? ['test -x venv/bin/gunicorn || pip install gunicorn']
      : []),
  ];
}

async function installCommands(directory: string): Promise<string[]> {
  if (await has(directory, 'requirements.txt')) return ['pip install -r requirements.txt'];
  const project = await textIn(directory, 'pyproject.toml');
  // Many a pyproject.toml only configures tools: there is nothing to install then.
  const installable = project !== null && /^\s*\[(project|build-system|tool\.poetry)\]/m.test(project);
  return installable || (await has(directory, 'setup.py')) ? ['pip install .'] : [];
}

/** Requirements have shell characters in them (`flask>=3`); wheels are named by pattern (`*.whl`). */
function pipArgument(text: string): string {
  return /^[\w./*?-]+\.whl$/.test(text) ? text : quoted(text);
}

async function requireVenv(python: string, path: string): Promise<void> {
  try {
    await promisify(execFile)(python, ['-c', 'import venv, ensurepip'], {
      env: { PATH: path },
      timeout: 60_000,
    });
  } catch {
    // Debian ships Python without these two modules: whatever else went wrong, the package is what brings them.
    throw missingTool('python3-venv', 'building a Python app');
  }
}
