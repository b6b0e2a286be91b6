import type { AppSpec } from '../model/app-spec.ts';
import type { Problem } from '../model/problem.ts';
import { checkTogether, type LocatedSpec } from './check-together.ts';
import type { ProcessSettings } from './processes.ts';
import { nothingBeside, readAppTree } from './read-app-tree.ts';
import { type PlanChecks, type ReadPlan, readPlanTree } from './read-plan-tree.ts';
import { largestWithPlans, whole } from './size.ts';
import { listAt, valueAt, type Path, type Place, type Tree } from './tree.ts';
import { readYaml } from './yaml-tree.ts';

export interface ReadApp {
  /** It may have no process yet: see `completeProcesses`. */
  spec: AppSpec;
  /** Where its document begins. */
  line: number;
  /** Where a value of it stands; of what is not in the text, the nearest ancestor. */
  placeOf: (path: Path) => Place;
  /** For a process that only its source will name. */
  webSettings: ProcessSettings;
}

export interface LocatedPlan extends ReadPlan {
  file: string;
  line: number;
}

/**
 * Reads a YAML manifest of one or more apps. `apps` are the documents without a problem of their own; `problems`
 * are all there are, in every document and between them. Never throws.
 */
export function readManifest(file: string, text: string): { apps: ReadApp[]; problems: Problem[] } {
  const { apps, problems } = readManifests([{ file, text }]);
  return {
    apps: apps.map(({ spec, line, placeOf, webSettings }) => ({ spec, line, placeOf, webSettings })),
    problems,
  };
}

/** The same for several files, also checked against each other; with `checks` they may hold plans. */
export function readManifests(
  files: readonly { file: string; text: string }[],
  checks: PlanChecks | null = null,
): {
  apps: (ReadApp & { file: string })[];
  /** Those without a problem of their own. */
  plans: LocatedPlan[];
  /** What could be read of the others. */
  drafts: LocatedPlan[];
  problems: Problem[];
} {
  const read = files.map(({ file, text }) => readDocuments(file, text, checks));
  const documents = read.flatMap(one => one.documents);
  return {
    apps: documents.flatMap(({ app, file }) => (app === null ? [] : [{ ...app, file }])),
    plans: read.flatMap(one => one.plans),
    drafts: read.flatMap(one => one.drafts),
    problems: [...read.flatMap(one => one.problems), ...checkTogether(documents)],
  };
}

interface ReadDocument extends LocatedSpec {
  /** null when the document has a problem; what can be made out of it is checked with the others all the same. */
  app: ReadApp | null;
}

function readDocuments(
  file: string,
  text: string,
  checks: PlanChecks | null,
): { documents: ReadDocument[]; plans: LocatedPlan[]; drafts: LocatedPlan[]; problems: Problem[] } {
  const { trees, problems } = readYaml(file, text, checks === null ? undefined : largestWithPlans);
  if (trees.length === 0 && problems.length === 0) {
    const problem = whole(file, 'is empty', 'an app needs at least metadata: {id: NAME}');
    return { documents: [], plans: [], drafts: [], problems: [problem] };
  }
  const plans: LocatedPlan[] = [];
  const drafts: LocatedPlan[] = [];
  const documents = trees.flatMap((tree): ReadDocument[] => {
    const { line } = tree.start;
    if (checks !== null && valueAt(tree.data, ['kind']) === 'Plan') {
      const read = readPlanTree(file, tree, checks);
      problems.push(...read.problems);
      (read.problems.length > 0 ? drafts : plans).push({ ...read.plan, file, line });
      return [];
    }
    const read = readAppTree(file, tree, nothingBeside);
    problems.push(...read.problems);
    const placeOf = (path: Path): Place => tree.placeOf(path, 'value');
    const app = read.spec === null ? null : { spec: read.spec, line, placeOf, webSettings: read.webSettings };
    const spec = app?.spec ?? partOf(tree);
    return spec === null ? [] : [{ app, spec, file, line, placeOf }];
  });
  return { documents, plans, drafts, problems };
}

function partOf({ data }: Tree): LocatedSpec['spec'] | null {
  const app = valueAt(data, ['metadata', 'id']);
  if (typeof app !== 'string') return null;
  const texts = (...path: Path) => listAt(data, ...path).filter(item => typeof item === 'string');
  const hostnames = [...new Set(texts('domains', 'list').map(name => name.toLowerCase()))];
  return { app, hostnames, dependsOn: texts('depends-on') };
}
