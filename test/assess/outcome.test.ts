import test from 'ava';
import type { Outcome } from '../../src/model/node-promise.ts';
import { outcomeOf } from '../../src/assess/outcome.ts';
import { assessment } from '../support/nouns.ts';

const observers = ['node-2', 'node-3', 'node-4'];
const rows: [string, (Outcome | null)[], ReturnType<typeof outcomeOf>][] = [
  ['nobody has judged yet', [null, null, null], 'unassessed'],
  ['all say kept', ['kept', 'kept', 'kept'], 'kept'],
  ['two of three say kept', ['kept', 'kept', 'broken'], 'kept'],
  ['two of three say broken', ['kept', 'broken', 'broken'], 'broken'],
  ['one of three is too few', ['broken', null, null], 'indeterminate'],
  ['two have said broken, one nothing yet', ['broken', 'broken', null], 'broken'],
  ['they disagree', ['kept', 'broken', 'indeterminate'], 'indeterminate'],
  ['repaired and kept agree that it is well', ['repaired', 'kept', 'broken'], 'repaired'],
  ['one has seen the repair settle, and another', ['repaired', 'kept', 'kept'], 'kept'],
];

for (const [title, outcomes, expected] of rows) {
  test(title, t => {
    const assessments = outcomes.flatMap((each, index) =>
      each === null ? [] : [assessment(observers[index]!, each)],
    );
    t.is(outcomeOf(assessments, observers), expected);
  });
}

test('who is no observer is not counted', t => {
  t.is(outcomeOf([assessment('node-9', 'broken')], observers), 'unassessed');
});
