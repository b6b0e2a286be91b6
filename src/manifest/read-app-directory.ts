import type { AppSpec } from '../model/app-spec.ts';
import type { Problem } from '../model/problem.ts';
import { readEnvFile } from './env-file.ts';
import type { ProcessSettings } from './processes.ts';
import { readProcfile } from './procfile.ts';
import { readAppTree, readHop3Tree, refused, type Beside, type ReadTree } from './read-app-tree.ts';
import { whole } from './size.ts';
import { readToml } from './toml-tree.ts';
import { readYaml } from './yaml-tree.ts';

/** The files of an app's directory that say how it is run; of each kind, the first that is there counts. */
export const appFiles = {
  manifest: ['hop3/hop3.yaml', 'hop3.yaml'],
  toml: ['src/hop3/hop3.toml', 'src/hop3.toml', 'hop3/hop3.toml', 'hop3.toml'],
  procfile: ['Procfile', 'hop3/Procfile'],
  env: ['ENV', 'hop3/ENV'],
} as const;

/** All of them: what a reader of directories has to look for. */
export const appFilePaths: readonly string[] = Object.values(appFiles).flat();

export interface ReadDirectory {
  /** null when there is a problem. It may have no process yet: see `completeProcesses`. */
  spec: AppSpec | null;
  /** For a process that only the source will name. */
  webSettings: ProcessSettings;
  problems: Problem[];
  /** What Hop3 takes and this agent cannot do: reading is right, deploying must be refused. */
  unsupported: Problem[];
}

/**
 * Reads what a directory says about its app, as Hop3 does: hop3.toml over Procfile over defaults, and `[env]` over
 * ENV; what they do not both say is merged. `files` are texts by path; others than `appFiles` are not looked at. Never
 * throws.
 */
export function readAppDirectory(
  files: Readonly<Record<string, string>>,
  options: { directoryName: string },
): ReadDirectory {
  const manifest = pick(files, appFiles.manifest);
  const toml = pick(files, appFiles.toml);
  const procfileText = pick(files, appFiles.procfile);
  const envText = pick(files, appFiles.env);
  const procfile = readProcfile(procfileText?.file ?? 'Procfile', procfileText?.text ?? '');
  const env = readEnvFile(envText?.file ?? 'ENV', envText?.text ?? '');
  const beside = { procfile: procfile.declared, env: env.values };
  const main =
    manifest === null
      ? readHop3File(toml ?? { file: 'hop3.toml', text: '' }, beside, options.directoryName)
      : toml === null
        ? readManifestFile(manifest, beside)
        : refused([whole(manifest.file, `says what the app is beside ${toml.file}`, 'keep one of the two')]);
  const problems = [...main.problems, ...procfile.problems, ...env.problems];
  return { ...main, spec: problems.length > 0 ? null : main.spec, problems };
}

interface NamedText {
  file: string;
  text: string;
}

function readHop3File({ file, text }: NamedText, beside: Beside, directoryName: string): ReadTree {
  const { tree, problems } = readToml(file, text);
  return tree === null ? refused(problems) : readHop3Tree(file, tree, beside, directoryName);
}

function readManifestFile({ file, text }: NamedText, beside: Beside): ReadTree {
  const { trees, problems } = readYaml(file, text);
  const [tree, second] = trees;
  if (problems.length > 0) return refused(problems);
  if (tree === undefined) {
    return refused([whole(file, 'is empty', 'an app needs at least metadata: {id: NAME}')]);
  }
  if (second !== undefined) {
    const message = 'a directory is one app, and here a second document begins';
    return refused([{ file, ...second.start, field: '', message, hint: null }]);
  }
  return readAppTree(file, tree, beside);
}

function pick(files: Readonly<Record<string, string>>, paths: readonly string[]): NamedText | null {
  const file = paths.find(path => Object.hasOwn(files, path));
  return file === undefined ? null : { file, text: files[file] ?? '' };
}
