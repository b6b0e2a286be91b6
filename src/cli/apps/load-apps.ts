import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { readAppFiles, sourceFacts } from '../../artifacts/pack.ts';
import { checkTogether } from '../../manifest/check-together.ts';
import { completedLater, completeProcesses } from '../../manifest/complete-processes.ts';
import { appFilePaths, appFiles, readAppDirectory } from '../../manifest/read-app-directory.ts';
import { type LocatedPlan, readManifests } from '../../manifest/read-manifest.ts';
import { runnable } from '../../manifest/runnable.ts';
import { pathOf, type Path, type Place } from '../../manifest/tree.ts';
import type { AppSpec, WebSettings } from '../../model/app-spec.ts';
import type { Problem } from '../../model/problem.ts';
import { checkSubmission } from '../../workflow/check-submission.ts';
import { checkCron } from '../../workflow/cron.ts';
import type { CommandContext } from '../context.ts';
import { fileTroubleOf } from '../report.ts';
import { withPayloads } from '../plans/payload-files.ts';

export interface LoadedApp {
  /** With its processes, also those found in the source. */
  spec: AppSpec;
  file: string;
  line: number;
  /** Exact places, when it is from one text; else there are none. */
  placeOf?: (path: Path) => Place;
  /** Absolute: the source tree on this machine, to be uploaded; null = the source is elsewhere, or there is none. */
  directory: string | null;
}

export interface LoadedApps {
  apps: LoadedApp[];
  /** With their payloads, also those that are in files. */
  plans: LocatedPlan[];
  /** What could be read of plans that have problems. */
  drafts: LocatedPlan[];
  problems: Problem[];
  /** Why an app whose files are right cannot be run here. */
  refusals: Problem[];
  /** Texts by the names that problems use. */
  sources: Map<string, string>;
}

/** An app as its manifest has it, before its source was looked at. */
interface ReadApp extends LoadedApp {
  webSettings: WebSettings;
}

/**
 * Reads all that was named on the command line: YAML manifests of apps and plans, `-` for stdin, directories and their hop3.toml; each
 * checked by itself and all together. `change` has the last word on each spec, once its processes are known.
 * @throws Error when none of the files can be read; one of several is a problem among others
 */
export async function loadApps(
  context: CommandContext,
  files: string[],
  change: (spec: AppSpec) => AppSpec = spec => spec,
): Promise<LoadedApps> {
  const read = await readAllNamed(context, files);
  const unreadable = read.filter(one => one.kind === 'unreadable');
  const manifests = read.filter(one => one.kind === 'manifest');
  const directories = read.filter(one => one.kind === 'directory');
  const sources = new Map(manifests.map(({ file, text }) => [file, text]));
  const fromManifests = readManifests(manifests, { plan: checkSubmission, schedule: checkCron });
  const withTheirs = (plans: LocatedPlan[]) =>
    Promise.all(plans.map(plan => withPayloads(plan, folderOf(context, plan.file))));
  const plans = await withTheirs(fromManifests.plans);
  const drafts = await withTheirs(fromManifests.drafts);
  const fromDirectories = directories.map(({ path, shown, files: texts }) => {
    for (const [name, text] of Object.entries(texts)) sources.set(join(shown, name), text);
    return { path, ...loadDirectory(path, shown, texts) };
  });
  const located: ReadApp[] = [
    ...fromManifests.apps.map(app => ({
      ...app,
      directory: sourceDirectory(app.spec, folderOf(context, app.file)),
    })),
    ...fromDirectories.flatMap(({ app }) => app ?? []),
  ];
  const completed = (await Promise.all(located.map(complete))).map(({ app, problems }) => {
    return { app: { ...app, spec: change(app.spec) }, problems };
  });
  return {
    apps: completed.map(({ app }) => app),
    plans: plans.map(({ plan }) => plan),
    drafts: drafts.map(({ plan }) => plan),
    problems: inReadingOrder([
      ...unreadable.map(({ file, message }) => problemOf({ file }, '', message)),
      ...fromManifests.problems,
      ...[...plans, ...drafts].flatMap(({ problems }) => problems),
      ...fromDirectories.flatMap(one => one.problems),
      // Manifests are checked against each other, with exact places, where they are read.
      ...(directories.length > 0 ? checkTogether(located) : []),
      ...completed.flatMap(({ problems }) => problems),
    ]),
    refusals: [
      ...fromDirectories.flatMap(one => one.unsupported),
      ...completed.flatMap(({ app }) => refusalsOf(app)),
    ],
    sources,
  };
}

/** What the cluster finds wrong with an app, where its manifest says it; the cluster knows the app by its name alone. */
export function inManifest(apps: readonly LoadedApp[], problem: Problem): Problem {
  const app = apps.find(({ spec }) => spec.app === problem.file);
  return app?.placeOf === undefined
    ? problem
    : { ...problem, file: app.file, ...placeIn(app, problem.field) };
}

type Named =
  | { kind: 'unreadable'; file: string; message: string }
  | { kind: 'manifest'; file: string; text: string }
  | { kind: 'directory'; path: string; shown: string; files: Record<string, string> };

async function readAllNamed(context: CommandContext, files: string[]): Promise<Named[]> {
  const read = await Promise.allSettled(files.map(file => readNamed(context, file)));
  const failure = read.find(one => one.status === 'rejected');
  if (failure !== undefined && read.every(one => one.status === 'rejected')) throw failure.reason;
  return read.map((one, index) => {
    if (one.status === 'fulfilled') return one.value;
    const trouble = fileTroubleOf(one.reason);
    if (trouble === null) throw one.reason;
    return { kind: 'unreadable', file: files[index] ?? '', message: trouble.message };
  });
}

async function readNamed(context: CommandContext, file: string): Promise<Named> {
  if (file === '-') return { kind: 'manifest', file: '<stdin>', text: await readStdin(context) };
  const path = context.path(file);
  const directory = await appDirectory(path);
  if (directory !== null) {
    const shown = join(file, relative(path, directory));
    return { kind: 'directory', path: directory, shown, files: await readAppFiles(directory, appFilePaths) };
  }
  return { kind: 'manifest', file, text: await readFile(path, 'utf8') };
}

async function readStdin({ io }: CommandContext): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of io.stdin) chunks.push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk);
  return Buffer.concat(chunks).toString('utf8');
}

/** A hop3.toml speaks for the directory of its app, and is read with the Procfile and ENV there. */
async function appDirectory(path: string): Promise<string | null> {
  if ((await stat(path)).isDirectory()) return path;
  const place = appFiles.toml.find(name => path.endsWith(sep + name));
  return place === undefined ? null : path.slice(0, -place.length - 1) || sep;
}

function loadDirectory(
  path: string,
  shown: string,
  files: Record<string, string>,
): { app: ReadApp | null; problems: Problem[]; unsupported: Problem[] } {
  const { spec, webSettings, problems, unsupported } = readAppDirectory(files, {
    directoryName: basename(path),
  });
  const inPlace = (problem: Problem): Problem => ({ ...problem, file: join(shown, problem.file) });
  const app =
    spec === null ? null : { spec, webSettings, file: shown, line: 0, directory: directoryOf(spec, path) };
  return { app, problems: problems.map(inPlace), unsupported: unsupported.map(inPlace) };
}

/** What lies in a directory is its app's source, unless its manifest says otherwise. */
function directoryOf(spec: AppSpec, path: string): string | null {
  return spec.source === null ? path : sourceDirectory(spec, path);
}

function sourceDirectory(spec: AppSpec, folder: string): string | null {
  return spec.source?.kind === 'path' ? resolve(folder, spec.source.path) : null;
}

function folderOf(context: CommandContext, file: string): string {
  return file === '<stdin>' ? context.io.cwd : dirname(context.path(file));
}

async function complete({ webSettings, ...app }: ReadApp): Promise<{ app: LoadedApp; problems: Problem[] }> {
  if (app.directory === null) {
    return { app: { ...app, spec: completedLater(app.spec, webSettings) }, problems: [] };
  }
  const found = await stat(app.directory).catch(() => null);
  if (!found?.isDirectory()) {
    return { app, problems: [problemOf(app, 'source.path', `${app.directory} is not a directory`)] };
  }
  const spec = completeProcesses(app.spec, await sourceFacts(app.directory), webSettings);
  return { app: { ...app, spec }, problems: [] };
}

/** Files in the order they were named, and each from top to bottom. */
export function inReadingOrder(problems: Problem[]): Problem[] {
  const files = [...new Set(problems.map(problem => problem.file))];
  return problems.toSorted(
    (a, b) => files.indexOf(a.file) - files.indexOf(b.file) || a.line - b.line || a.column - b.column,
  );
}

function refusalsOf(app: LoadedApp): Problem[] {
  return runnable(app.spec, app.file).map(problem => ({ ...problem, ...placeIn(app, problem.field) }));
}

function problemOf(app: Pick<LoadedApp, 'file' | 'placeOf'>, field: string, message: string): Problem {
  return { file: app.file, ...placeIn(app, field), field, message, hint: null };
}

function placeIn({ placeOf }: Pick<LoadedApp, 'placeOf'>, field: string): Place {
  return placeOf?.(pathOf(field)) ?? { line: 0, column: 0 };
}
