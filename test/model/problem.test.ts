import test from 'ava';
import { problemText, type Problem } from '../../src/model/problem.ts';

const problem: Problem = {
  file: 'app.yaml',
  line: 2,
  column: 7,
  field: 'run.strat',
  message: 'unknown key',
  hint: 'did you mean "start"?',
};

const rows: Record<string, { given: Partial<Problem>; text: string }> = {
  'all that is known': {
    given: {},
    text: 'app.yaml:2:7: run.strat: unknown key (did you mean "start"?)',
  },
  'a problem with the file as a whole': {
    given: { line: 0, column: 0, field: '' },
    text: 'app.yaml: unknown key (did you mean "start"?)',
  },
  'no hint': { given: { hint: null }, text: 'app.yaml:2:7: run.strat: unknown key' },
};

for (const [name, { given, text }] of Object.entries(rows)) {
  test(`a problem’s text has ${name}`, t => t.is(problemText({ ...problem, ...given }), text));
}
