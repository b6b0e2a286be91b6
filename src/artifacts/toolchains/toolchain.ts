import { access, readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { AppSpec } from '../../model/app-spec.ts';

/** How one language's source trees are made ready to run. */
export interface Toolchain {
  name: string;
  /** Whether a tree looks like one of its own. */
  recognises(directory: string): Promise<boolean>;
  /** @throws ArtifactError when a tool is missing, naming the package to install */
  recipe(directory: string, spec: AppSpec, path: string): Promise<Recipe>;
}

export interface Recipe {
  /** Shell commands, in order; none = the tree runs as it is. The app's own build commands are among them. */
  commands: string[];
  /** For these commands. Paths relative to the tree. */
  env: Record<string, string>;
  pathPrepend: string[];
  /** For the app's processes. */
  runtimeEnv: Record<string, string>;
  /** Scripts to add once it is built, by path. */
  executables?: Record<string, string>;
}

export async function has(directory: string, path: string): Promise<boolean> {
  return access(join(directory, path)).then(
    () => true,
    () => false,
  );
}

/** null when it is not there. */
export async function textIn(directory: string, path: string): Promise<string | null> {
  return (await has(directory, path)) ? readFile(join(directory, path), 'utf8') : null;
}

export async function hasFileEnding(directory: string, ending: string): Promise<boolean> {
  return (await readdir(directory)).some(name => name.endsWith(ending));
}

export function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
