import type { AppSpec } from '../model/app-spec.ts';
import type { Problem } from '../model/problem.ts';
import { appManifest } from './app-manifest.ts';
import { checkTogether, type LocatedSpec } from './check-together.ts';
import { commonFindings, manifestFindings } from './cross-checks.ts';
import { findingsOf } from './issues.ts';
import { nearest } from './nearest.ts';
import { refusedSections } from './not-yet.ts';
import { merge, nothingDeclared, type Declared } from './processes.ts';
import { declaredIn, withDefaultSite } from './run-section.ts';
import { whole } from './size.ts';
import { toSpec } from './to-spec.ts';
import { isTable, listAt, problemsOf, shown, valueAt, type Finding, type Path, type Tree } from './tree.ts';
import { unsupportedIn } from './unsupported.ts';
import { readYaml } from './yaml-tree.ts';

export interface ReadApp {
  spec: AppSpec;
  /** Where its document begins. */
  line: number;
}

/**
 * Reads a YAML manifest of one or more documents. `apps` are the documents without a problem of their own; `problems`
 * are all there are, in every document and between them. Never throws.
 */
export function readManifest(file: string, text: string): { apps: ReadApp[]; problems: Problem[] } {
  const { apps, problems } = readManifests([{ file, text }]);
  return { apps: apps.map(({ spec, line }) => ({ spec, line })), problems };
}

/** The same for several files, also checked against each other. */
export function readManifests(files: readonly { file: string; text: string }[]): {
  apps: (ReadApp & { file: string })[];
  problems: Problem[];
} {
  const read = files.map(({ file, text }) => readDocuments(file, text));
  const documents = read.flatMap(one => one.documents);
  return {
    apps: documents.flatMap(({ file, line, whole }) => (whole === null ? [] : [{ spec: whole, file, line }])),
    problems: [...read.flatMap(one => one.problems), ...checkTogether(documents)],
  };
}

interface ReadDocument extends LocatedSpec {
  /** null when the document has a problem; what could be made out of it is checked with the others all the same. */
  whole: AppSpec | null;
}

function readDocuments(file: string, text: string): { documents: ReadDocument[]; problems: Problem[] } {
  const { trees, problems } = readYaml(file, text);
  if (trees.length === 0 && problems.length === 0) {
    return {
      documents: [],
      problems: [whole(file, 'is empty', 'an app needs at least metadata: {id: NAME}')],
    };
  }
  const documents = trees.flatMap(tree => {
    const { spec, problems: own } = readAppTree(file, tree, nothingDeclared(), new Map());
    problems.push(...own);
    const part = spec ?? partOf(tree);
    const placeOf = (path: Path) => tree.placeOf(path, 'value');
    return part === null ? [] : [{ whole: spec, spec: part, file, line: tree.start.line, placeOf }];
  });
  return { documents, problems };
}

function partOf({ data }: Tree): LocatedSpec['spec'] | null {
  const app = valueAt(data, ['metadata', 'id']);
  if (typeof app !== 'string') return null;
  const texts = (...path: Path) => listAt(data, ...path).filter(item => typeof item === 'string');
  const hostnames = [...new Set(texts('domains', 'list').map(name => name.toLowerCase()))];
  return { app, hostnames, dependsOn: texts('depends-on') };
}

/** One document of our own format; a Procfile and an ENV file beside it may say what it does not. */
export function readAppTree(
  file: string,
  tree: Tree,
  procfile: Declared,
  envFile: ReadonlyMap<string, string>,
): { spec: AppSpec | null; problems: Problem[] } {
  const kind = kindFindings(tree.data);
  if (kind.length > 0) return { spec: null, problems: problemsOf(file, tree, kind) };
  const { declared: own, findings } = declaredIn(tree.data);
  const declared = withDefaultSite(tree.data, merge(own, procfile));
  const all: Finding[] = [
    ...findingsOf(appManifest, tree.data),
    ...findings,
    ...commonFindings(tree.data),
    ...manifestFindings(tree.data, declared),
    ...unsupportedIn(tree.data),
    ...refusedFindings(tree.data),
  ];
  if (all.length > 0) return { spec: null, problems: problemsOf(file, tree, all) };
  const data = appManifest.parse(tree.data);
  return { spec: toSpec({ app: data.metadata.id, data, tree, declared, envFile }), problems: [] };
}

function kindFindings(data: unknown): Finding[] {
  const kind = valueAt(data, ['kind']);
  if (!isTable(data) || kind === undefined || kind === 'App') return [];
  const finding = (message: string, hint: string | null): Finding[] => [
    { path: ['kind'], part: 'value', message, hint },
  ];
  if (kind === 'Plan') return finding('plans are submitted with `batch submit`, not yet available', null);
  const close = typeof kind === 'string' ? nearest(kind, ['App', 'Plan']) : null;
  return finding(
    `${shown(kind)} is not a kind of document`,
    close === null ? 'App or Plan' : `did you mean "${close}"?`,
  );
}

function refusedFindings(data: unknown): Finding[] {
  return [...refusedSections]
    .filter(([section]) => listAt(data, section).length > 0)
    .map(([section, { message, hint }]) => ({ path: [section], part: 'key', message, hint }));
}
