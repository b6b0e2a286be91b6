import type { AppSpec } from '../../model/app-spec.ts';
import { ArtifactError } from '../../ports/artifacts.ts';
import { requireTool } from '../tools.ts';
import { has, textIn, type Recipe, type Toolchain } from './toolchain.ts';

/**
 * npm: `npm ci` with a lock file, else `npm install`. With something to build (a `build` script, or the app's own
 * commands) the development dependencies are there meanwhile and pruned after. An app whose own commands install its
 * dependencies is left to do so.
 */
export const nodeToolchain: Toolchain = {
  name: 'node',
  recognises: directory => has(directory, 'package.json'),
  async recipe(directory, spec, path) {
    await requireTool('node', path, 'a Node app');
    const manifest = parsePackage(await textIn(directory, 'package.json'));
    const commands = await commandsFor(directory, manifest, spec);
    if (commands.length > 0) await requireTool('npm', path, 'building a Node app');
    return {
      commands,
      env: {},
      pathPrepend: ['node_modules/.bin'],
      runtimeEnv: { NODE_ENV: 'production' },
    } satisfies Recipe;
  },
};

interface Package {
  scripts?: Record<string, unknown>;
  workspaces?: unknown;
  dependencies?: object;
  optionalDependencies?: object;
  peerDependencies?: object;
}

const INSTALL_SCRIPTS = ['preinstall', 'install', 'postinstall', 'prepare'];
const INSTALLS = /\b(npm\s+(ci|i|install|clean-install)|pnpm|yarn)\b/;

async function commandsFor(directory: string, manifest: Package, spec: AppSpec): Promise<string[]> {
  const own = spec.build.build;
  if (own.some(command => INSTALLS.test(command))) return own;
  const build = own.length > 0 ? own : manifest.scripts?.['build'] === undefined ? [] : ['npm run build'];
  if (build.length === 0 && !hasSomethingToInstall(manifest)) return [];
  const locked = (await has(directory, 'package-lock.json')) || (await has(directory, 'npm-shrinkwrap.json'));
  const install = `${locked ? 'npm ci' : 'npm install'} --no-audit --no-fund`;
  if (build.length === 0) return [`${install} --omit=dev`];
  return [`${install} --include=dev`, ...build, 'npm prune --omit=dev --no-audit --no-fund'];
}

function hasSomethingToInstall(manifest: Package): boolean {
  const dependencies = [manifest.dependencies, manifest.optionalDependencies, manifest.peerDependencies];
  return (
    manifest.workspaces !== undefined ||
    dependencies.some(group => Object.keys(group ?? {}).length > 0) ||
    INSTALL_SCRIPTS.some(script => manifest.scripts?.[script] !== undefined)
  );
}

function parsePackage(text: string | null): Package {
  try {
    const parsed: unknown = JSON.parse(text ?? '{}');
    if (typeof parsed === 'object' && parsed !== null) return parsed;
    throw new TypeError('it is not an object');
  } catch (error) {
    throw new ArtifactError(`package.json cannot be read: ${(error as Error).message}`, {
      retryable: false,
      cause: error,
    });
  }
}
