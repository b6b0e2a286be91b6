import type { AppSpec } from '../model/app-spec.ts';
import type { Problem } from '../model/problem.ts';
import { isTimeZone } from '../model/time-zone.ts';
import { appIdOf } from './app-id.ts';
import { appManifest } from './app-manifest.ts';
import { commonFindings, manifestFindings } from './cross-checks.ts';
import { hop3Toml } from './hop3-toml.ts';
import { findingsOf } from './issues.ts';
import { nearest } from './nearest.ts';
import { merge, nothingDeclared, type Declared, type ProcessSettings } from './processes.ts';
import { declaredIn, withDefaultSite } from './run-section.ts';
import { settingsOf, toSpec, type AppData } from './to-spec.ts';
import { isTable, problemsOf, shown, valueAt, type Finding, type Tree } from './tree.ts';
import { unsupportedIn } from './unsupported.ts';

/** What a Procfile and an ENV file beside the main file say. */
export interface Beside {
  procfile: Declared;
  env: ReadonlyMap<string, string>;
}

export const nothingBeside: Beside = { procfile: nothingDeclared(), env: new Map() };

export interface ReadTree {
  spec: AppSpec | null;
  webSettings: ProcessSettings;
  problems: Problem[];
  unsupported: Problem[];
}

/** One document of our own format. What this agent cannot do is a problem at once: no one else reads the format. */
export function readAppTree(file: string, tree: Tree, beside: Beside): ReadTree {
  const kind = kindFindings(tree.data);
  const { declared, findings } = declaredWith(tree, beside);
  const all =
    kind.length > 0
      ? kind
      : [
          ...findingsOf(appManifest, tree.data),
          ...findings,
          ...commonFindings(tree.data),
          ...manifestFindings(tree.data, declared),
          ...unsupportedIn(tree.data),
        ];
  if (all.length > 0) return refused(problemsOf(file, tree, all));
  const data = appManifest.parse(tree.data);
  return { ...accepted(file, data.metadata.id, data, tree, declared, beside), unsupported: [] };
}

/** A hop3.toml. */
export function readHop3Tree(file: string, tree: Tree, beside: Beside, directoryName: string): ReadTree {
  const { app, findings: idFindings } = appIdOf(tree.data, directoryName);
  const { declared, findings } = declaredWith(tree, beside);
  const all = [...findingsOf(hop3Toml, tree.data), ...findings, ...commonFindings(tree.data), ...idFindings];
  const unsupported = problemsOf(file, tree, unsupportedIn(tree.data));
  if (all.length > 0) return { ...refused(problemsOf(file, tree, all)), unsupported };
  // Hop3's own `deploy` chooses a deployer, which this agent has no choice of.
  const data = { ...hop3Toml.parse(tree.data), deploy: undefined };
  return { ...accepted(file, app, data, tree, declared, beside), unsupported };
}

export function refused(problems: Problem[]): ReadTree {
  return { spec: null, webSettings: settingsOf({}, 'web'), problems, unsupported: [] };
}

function accepted(file: string, app: string, data: AppData, tree: Tree, declared: Declared, beside: Beside) {
  const spec = toSpec({ app, data, tree, declared, envFile: beside.env });
  const problems = problemsOf(file, tree, zoneFindings(spec));
  return { spec: problems.length > 0 ? null : spec, webSettings: settingsOf(data, 'web'), problems };
}

function declaredWith(tree: Tree, beside: Beside): { declared: Declared; findings: Finding[] } {
  const { declared, findings } = declaredIn(tree.data);
  return { declared: withDefaultSite(tree.data, merge(declared, beside.procfile)), findings };
}

/** Those of `crons` have been checked where they stand: what is left is that of the app's own settings. */
function zoneFindings({ crons }: AppSpec): Finding[] {
  const wrong = crons.map(({ schedule }) => schedule.timeZone).find(zone => !isTimeZone(zone));
  if (wrong === undefined) return [];
  const message = `${shown(wrong)} is no time zone that scheduled commands could go by`;
  return [{ path: ['env', 'TZ'], part: 'value', message, hint: 'an IANA name, as in Europe/Berlin' }];
}

function kindFindings(data: unknown): Finding[] {
  const kind = valueAt(data, ['kind']);
  if (!isTable(data) || kind === undefined || kind === 'App') return [];
  const finding = (message: string, hint: string | null): Finding[] => {
    return [{ path: ['kind'], part: 'value', message, hint }];
  };
  if (kind === 'Plan')
    return finding('is a plan, which is no app', 'hop3-agent batch submit FILE submits it');
  const close = typeof kind === 'string' ? nearest(kind, ['App', 'Plan']) : null;
  const hint = close === null ? 'App or Plan' : `did you mean "${close}"?`;
  return finding(`${shown(kind)} is not a kind of document`, hint);
}
