import type { AppSpec } from '../model/app-spec.ts';
import type { Problem } from '../model/problem.ts';
import { commonFindings } from './cross-checks.ts';
import { readEnvFile } from './env-file.ts';
import { hop3Toml } from './hop3-toml.ts';
import { findingsOf } from './issues.ts';
import { nothingDeclared, merge, type Declared } from './processes.ts';
import { readProcfile } from './procfile.ts';
import { readAppTree } from './read-manifest.ts';
import { declaredIn, withDefaultSite } from './run-section.ts';
import { whole } from './size.ts';
import { toSpec } from './to-spec.ts';
import { problemsOf, shown, valueAt, type Finding, type Tree } from './tree.ts';
import { readToml } from './toml-tree.ts';
import { unsupportedIn } from './unsupported.ts';
import { appName, appNameRule } from './words.ts';
import { readYaml } from './yaml-tree.ts';

/** The files of an app's directory that say how it is run; of each kind, the first that is there counts. */
export const appFiles = {
  manifest: ['hop3/hop3.yaml', 'hop3.yaml'],
  toml: ['src/hop3/hop3.toml', 'src/hop3.toml', 'hop3/hop3.toml', 'hop3.toml'],
  procfile: ['Procfile', 'hop3/Procfile'],
  env: ['ENV', 'hop3/ENV'],
} as const;

export interface ReadDirectory {
  /** null when there is a problem. It may have no process yet: see `completeProcesses`. */
  spec: AppSpec | null;
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
  const procfile =
    procfileText === null
      ? { declared: nothingDeclared(), problems: [] }
      : readProcfile(procfileText.file, procfileText.text);
  const env =
    envText === null
      ? { values: new Map<string, string>(), problems: [] }
      : readEnvFile(envText.file, envText.text);
  const beside = [...procfile.problems, ...env.problems];
  if (manifest !== null && toml !== null) {
    const problem = whole(manifest.file, `says what the app is beside ${toml.file}`, 'keep one of the two');
    return { spec: null, problems: [problem, ...beside], unsupported: [] };
  }
  const main =
    manifest !== null
      ? readManifestFile(manifest.file, manifest.text, procfile.declared, env.values)
      : readHop3(
          toml ?? { file: 'hop3.toml', text: '' },
          procfile.declared,
          env.values,
          options.directoryName,
        );
  const problems = [...main.problems, ...beside];
  return { spec: problems.length > 0 ? null : main.spec, problems, unsupported: main.unsupported };
}

function readManifestFile(
  file: string,
  text: string,
  procfile: Declared,
  env: ReadonlyMap<string, string>,
): ReadDirectory {
  const { trees, problems } = readYaml(file, text);
  const [tree, second] = trees;
  if (problems.length > 0) return { spec: null, problems, unsupported: [] };
  if (tree === undefined) {
    return {
      spec: null,
      problems: [whole(file, 'is empty', 'an app needs at least metadata: {id: NAME}')],
      unsupported: [],
    };
  }
  if (second !== undefined) {
    const message = 'a directory is one app, and here a second document begins';
    return {
      spec: null,
      problems: [{ file, ...second.start, field: '', message, hint: null }],
      unsupported: [],
    };
  }
  return { ...readAppTree(file, tree, procfile, env), unsupported: [] };
}

function readHop3(
  { file, text }: { file: string; text: string },
  procfile: Declared,
  envFile: ReadonlyMap<string, string>,
  directoryName: string,
): ReadDirectory {
  const { tree, problems } = readToml(file, text);
  if (tree === null) return { spec: null, problems, unsupported: [] };
  const { declared: own, findings: runFindings } = declaredIn(tree.data);
  const name = appNameOf(tree, directoryName);
  const findings = [
    ...findingsOf(hop3Toml, tree.data),
    ...runFindings,
    ...commonFindings(tree.data),
    ...name.findings,
  ];
  const unsupported = problemsOf(file, tree, unsupportedIn(tree.data));
  if (findings.length > 0) return { spec: null, problems: problemsOf(file, tree, findings), unsupported };
  // Hop3's own `deploy` chooses a deployer, which this agent has no choice of.
  const data = { ...hop3Toml.parse(tree.data), deploy: undefined };
  const declared = withDefaultSite(tree.data, merge(own, procfile));
  return { spec: toSpec({ app: name.app, data, tree, declared, envFile }), problems: [], unsupported };
}

/**
 * `metadata.id` as it is, but for capitals and underscores, which Hop3 takes and a cluster's keys do not; else a name
 * made of `metadata.name`, or of the directory's.
 */
function appNameOf(tree: Tree, directoryName: string): { app: string; findings: Finding[] } {
  const id = valueAt(tree.data, ['metadata', 'id']);
  if (typeof id !== 'string') {
    const name = valueAt(tree.data, ['metadata', 'name']);
    return {
      app: madeName(typeof name === 'string' && name.trim() !== '' ? name : directoryName),
      findings: [],
    };
  }
  const app = id.toLowerCase().replaceAll('_', '-');
  if (appName.safeParse(app).success) return { app, findings: [] };
  const message = `${shown(id)} is not an app name`;
  const hint = `${appNameRule}, as in "${madeName(id)}"`;
  return { app, findings: [{ path: ['metadata', 'id'], part: 'value', message, hint }] };
}

function madeName(text: string): string {
  const words = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '');
  const started = /^[a-z]/.test(words) && words.length >= 3 ? words : `app-${words === '' ? '1' : words}`;
  return started.slice(0, 63).replace(/-+$/, '');
}

function pick(
  files: Readonly<Record<string, string>>,
  paths: readonly string[],
): { file: string; text: string } | null {
  const file = paths.find(path => Object.hasOwn(files, path));
  return file === undefined ? null : { file, text: files[file] ?? '' };
}
