import test from 'ava';
import fc from 'fast-check';
import { lastWordOf, type LastWord } from '../../src/assess/last-word.ts';
import type { Assessment } from '../../src/model/node-promise.ts';
import { assessment, runningPromise } from '../support/nouns.ts';

const OBSERVERS = ['node-2', 'node-3', 'node-4'];

type Said = 'answers' | 'gone' | 'unsure';

function word(assessor: string, said: Said): Assessment {
  switch (said) {
    case 'answers':
      return assessment(assessor, 'kept', { answering: runningPromise() });
    case 'gone':
      return assessment(assessor, 'broken', { unreachable: true });
    case 'unsure':
      return assessment(assessor, 'indeterminate');
  }
}

const rows: [string, Said[], LastWord][] = [
  ['all get answers', ['answers', 'answers', 'answers'], 'answers'],
  ['one gets none', ['answers', 'answers', 'gone'], 'answers'],
  ['most get none', ['answers', 'gone', 'gone'], 'unreachable'],
  ['all get none', ['gone', 'gone', 'gone'], 'unreachable'],
  ['one alone has spoken, and gets answers', ['answers'], 'answers'],
  ['one alone has spoken, and gets none', ['gone'], 'unknown'],
  ['nobody has spoken', [], 'unknown'],
  ['nobody can tell', ['unsure', 'unsure', 'unsure'], 'unknown'],
  ['one gets answers and the others cannot tell', ['unsure', 'answers', 'unsure'], 'answers'],
];
for (const [title, said, expected] of rows) {
  test(`rule 12: ${title}: ${expected}`, t => {
    t.is(
      lastWordOf(
        said.map((each, index) => word(OBSERVERS[index]!, each)),
        OBSERVERS,
      ),
      expected,
    );
  });
}

test('rule 12: of two observers, one without an answer is no majority', t => {
  t.is(lastWordOf([word('node-2', 'gone')], ['node-2', 'node-3']), 'unknown');
  t.is(lastWordOf([word('node-2', 'gone'), word('node-3', 'answers')], ['node-2', 'node-3']), 'answers');
});

test('rule 12: who is no observer has no say', t => {
  const said = fc.constantFrom<Said>('answers', 'gone', 'unsure');
  fc.assert(
    fc.property(fc.array(said, { maxLength: 3 }), fc.array(said, { maxLength: 5 }), (own, others) => {
      const heard = own.map((each, index) => word(OBSERVERS[index]!, each));
      const strangers = others.map((each, index) => word(`node-${index + 5}`, each));
      t.is(lastWordOf([...strangers, ...heard], OBSERVERS), lastWordOf(heard, OBSERVERS));
    }),
  );
});

test('rule 12: never answering while most observers get no answer', t => {
  const said = fc.constantFrom<Said>('answers', 'gone', 'unsure');
  fc.assert(
    fc.property(fc.array(said, { minLength: 1, maxLength: 3 }), all => {
      const observers = all.map((_, index) => OBSERVERS[index]!);
      const gone = all.filter(each => each === 'gone').length;
      const result = lastWordOf(
        all.map((each, index) => word(observers[index]!, each)),
        observers,
      );
      t.is(result === 'unreachable', gone > observers.length / 2);
    }),
  );
});
