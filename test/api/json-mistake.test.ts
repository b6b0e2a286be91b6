import test from 'ava';
import fc from 'fast-check';
import { jsonMistake } from '../../src/api/json-mistake.ts';

const places: [text: string, offset: number | null][] = [
  ['{"a": [1, 2]}', null],
  [' [] ', null],
  ['', 0],
  ['{"a": oops}', 6],
  ['{"a": 1,}', 8],
  ['{a: 1}', 1],
  ['[1 2]', 3],
  ['[1]]', 3],
  ['{"a": [1, 2}', 11],
  ['{"a" 1}', 5],
  ['["ab', 1],
  ['["a\nb"]', 1],
  ['[01]', 1],
  ['[1, 2', 5],
];
for (const [text, offset] of places) {
  test(`${JSON.stringify(text)} stops being JSON at ${offset ?? 'no place'}`, t => {
    t.is(jsonMistake(text), offset);
  });
}

test('it finds a mistake exactly where JSON.parse refuses', t => {
  const damaged = fc
    .tuple(
      fc.json(),
      fc.nat(),
      fc.constantFrom('', ',', '"', '}', ']', '{', ':', '\\', '0', '-', '.', 'e', ' '),
    )
    .map(([text, place, extra]) => {
      const at = place % (text.length + 1);
      return extra === ''
        ? text.slice(0, at) + text.slice(at + 1)
        : text.slice(0, at) + extra + text.slice(at);
    });
  fc.assert(
    fc.property(damaged, text => {
      t.is(jsonMistake(text) === null, parses(text), text);
    }),
    { numRuns: 1000 },
  );
});

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
