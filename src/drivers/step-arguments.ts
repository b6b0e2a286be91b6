import type { PlanProblem, StepWork } from '../model/plan.ts';

/** What each argument must be: null = right, else what would be. */
export type ArgumentRules = Record<string, (value: string) => string | null>;

/** Everything wrong with the arguments: those that nobody knows, and values that make no sense. */
export function checkArguments(work: StepWork, rules: ArgumentRules): PlanProblem[] {
  return Object.entries(work.arguments ?? {}).flatMap(([name, value]) => {
    const field = `arguments.${name}`;
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    if (rule === undefined) {
      return [{ field, message: `the agent "${work.agent}" has no such argument`, hint: known(rules) }];
    }
    const right = rule(value);
    return right === null ? [] : [{ field, message: `"${value}" makes no sense here`, hint: right }];
  });
}

export function oneOf(...words: string[]): (value: string) => string | null {
  return value => (words.includes(value) ? null : `one of ${words.join(', ')}`);
}

export function wholeNumber(least: number, most: number): (value: string) => string | null {
  return value =>
    /^\d{1,15}$/.test(value) && Number(value) >= least && Number(value) <= most
      ? null
      : `a whole number from ${least} to ${most}`;
}

function known(rules: ArgumentRules): string {
  const names = Object.keys(rules);
  return names.length === 0 ? 'it has none' : `it has ${names.join(', ')}`;
}
