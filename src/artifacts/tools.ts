import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { ArtifactError } from '../ports/artifacts.ts';

const DEBIAN_PACKAGES = {
  git: 'git',
  node: 'nodejs',
  npm: 'npm',
  python3: 'python3',
  'python3-venv': 'python3-venv',
  go: 'golang-go',
};

export type Tool = keyof typeof DEBIAN_PACKAGES;

/** The absolute path of an executable, or null. */
export async function findOnPath(name: string, path: string): Promise<string | null> {
  for (const directory of path.split(delimiter)) {
    const candidate = join(directory, name);
    if (directory !== '' && (await isExecutable(candidate))) return candidate;
  }
  return null;
}

/** @throws ArtifactError naming the tool and the Debian package it comes in */
export async function requireTool(tool: Tool, path: string, purpose: string): Promise<string> {
  const found = await findOnPath(tool, path);
  if (found === null) throw missingTool(tool, purpose);
  return found;
}

export function missingTool(tool: Tool, purpose: string): ArtifactError {
  return new ArtifactError(
    `${purpose} needs ${tool}, which is not on this node: install it with \`apt install ${DEBIAN_PACKAGES[tool]}\``,
    { retryable: false },
  );
}

function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
