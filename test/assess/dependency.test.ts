import test from 'ava';
import { unmet, type JudgedPromise } from '../../src/assess/dependency.ts';
import type { Outcome } from '../../src/model/node-promise.ts';
import { assessment, runningPromise } from '../support/nouns.ts';

const observers = ['node-2', 'node-3'];
const judged = (ready: boolean, outcomes: Outcome[], by = observers): JudgedPromise => ({
  promise: runningPromise({ ready, state: ready ? 'running' : 'starting' }),
  assessments: outcomes.map((outcome, index) => assessment(observers[index] ?? '', outcome)),
  observers: by,
});

const rows: [title: string, types: string[], promises: JudgedPromise[], why: RegExp | null][] = [
  ['nothing is promised', ['web'], [], /^no instance of web is ready$/],
  ['none is wanted', [], [], /^it has no instance$/],
  ['it is ready by nobody’s word', ['web'], [judged(false, ['kept'])], /^no instance of web is ready$/],
  ['it is ready by its own word alone', ['web'], [judged(true, [])], /not looked at yet/],
  [
    'its observers say broken',
    ['web'],
    [judged(true, ['broken', 'indeterminate'])],
    /node-2 says broken: .*node-3 says indeterminate/,
  ],
  ['one observer says kept', ['web'], [judged(true, ['broken', 'kept'])], null],
  ['one observer says repaired', ['web'], [judged(true, ['repaired'])], null],
  ['whoever says kept is no observer any more', ['web'], [judged(true, ['kept'], ['node-4'])], /no observer/],
  ['there is no observer', ['web'], [judged(true, [], [])], null],
  ['another type has none', ['web', 'worker'], [judged(true, ['kept'])], /^no instance of worker is ready$/],
  ['one of two is kept', ['web'], [judged(false, []), judged(true, ['kept'])], null],
];

for (const [title, types, promises, why] of rows) {
  test(`it ${why === null ? 'can' : "can't"} be relied upon when ${title}`, t => {
    const said = unmet(types, promises);
    if (why === null) t.is(said, null);
    else t.regex(said ?? '', why);
  });
}
