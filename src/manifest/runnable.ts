import type { AddonSpec, AppSpec } from '../model/app-spec.ts';
import type { Problem } from '../model/problem.ts';
import { notYet } from './not-yet.ts';
import { fieldOf } from './tree.ts';

/** What an addon of a type gives its app; naming one of these in `env` binds it. */
const addonVariables: ReadonlyMap<string, readonly string[]> = new Map([
  ['postgres', ['DATABASE_URL', 'PGHOST']],
  ['mysql', ['DATABASE_URL', 'MYSQL_HOST']],
  ['redis', ['REDIS_URL', 'REDIS_HOST']],
  ['s3', ['S3_ENDPOINT']],
  ['email', ['EMAIL_HOST', 'EMAIL_URL']],
]);

/**
 * Why this agent cannot run an app whose manifest is right. Empty = it can. Apply refuses otherwise. A spec without
 * processes passes when its source is not at hand: whoever fetches it completes the spec, and looks again.
 */
export function runnable(spec: AppSpec, file: string = spec.app): Problem[] {
  const problem = (field: string, message: string, hint: string | null): Problem => {
    return { file, line: 0, column: 0, field, message, hint };
  };
  const problems = notYet(spec).map(({ field, message, hint }) => problem(field, message, hint));
  const { builder } = spec.build;
  if (builder === 'docker' || builder === 'nix') {
    problems.push(problem('build.builder', `apps are not built with ${builder} here`, 'auto, local or none'));
  }
  const mayStillBeFound = spec.source !== null && spec.source.kind !== 'path';
  if (spec.processes.length === 0 && spec.crons.length === 0 && !mayStillBeFound) {
    const hint = 'give run.start, run.workers or build.static-dir';
    problems.push(
      problem('run', 'there is nothing to run: no process is named, and none was recognised', hint),
    );
  }
  for (const [index, addon] of spec.addons.entries()) {
    const variables = addonVariables.get(addon.type) ?? [];
    if (variables.some(name => Object.hasOwn(spec.env, name))) continue;
    problems.push(
      problem(fieldOf(['addons', index]), `nobody has bound ${addonText(addon)}`, bindingHint(variables)),
    );
  }
  for (const [name, value] of Object.entries(spec.env)) {
    if (value.kind !== 'from-addon') continue;
    const message = `the agent makes no addons, so it cannot ask "${value.addon}" for ${value.key}`;
    problems.push(problem(fieldOf(['env', name]), message, 'give the value, or compute it from others'));
  }
  return problems;
}

function addonText(addon: AddonSpec): string {
  return `the ${addon.type} addon "${addon.name}", and the agent makes none`;
}

function bindingHint(variables: readonly string[]): string {
  if (variables.length === 0) return 'use a service that env names, and leave the addon out';
  return `say in env where it is: ${variables.join(' or ')}`;
}
