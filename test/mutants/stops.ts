import type { Mutant } from './ownership.ts';

const stops = 'test/drivers/process-units.test.ts';

/** Each takes out one thing that lets a process be asked to end as soon as it is started. */
export const stopMutants: Mutant[] = [
  {
    name: 'stops: what does not run yet is asked at once',
    file: 'src/drivers/process-units.ts',
    search: 'void unit.begun.then(() => ask(unit));',
    replace: 'ask(unit);',
    test: stops,
  },
  {
    name: 'stops: what has no session yet is not asked',
    file: 'src/drivers/process-group.ts',
    search: 'new Set([group.pid, ...others])',
    replace: 'new Set(others)',
    test: stops,
  },
  {
    name: 'stops: a guarded command does not say that it runs',
    file: 'src/drivers/guard-script.ts',
    search: 'echo >&7 2>/dev/null;',
    replace: ':;',
    test: stops,
  },
];
