import test from 'ava';
import fc from 'fast-check';
import { nearest, suggestion } from '../../src/manifest/nearest.ts';

const known = ['blog', 'guestbook', 'guestbook/web', 'node-1'];

const rows: [typed: string, meant: string | null][] = [
  ['guestbok', 'guestbook'],
  ['gusetbook', 'guestbook'],
  ['Blog', 'blog'],
  ['node_1', 'node-1'],
  ['guestbook/wbe', 'guestbook/web'],
  ['wiki', null],
  ['g'.repeat(65), null],
];
for (const [typed, meant] of rows) {
  test(`${typed.slice(0, 20)} ${meant === null ? 'means nothing known' : `means ${meant}`}`, t => {
    t.is(nearest(typed, known), meant);
  });
}

test('what is meant is suggested, else all there is when that is short enough to read', t => {
  t.is(suggestion('bolg', known), 'did you mean "blog"?');
  t.is(suggestion('wiki', known), 'known here: blog, guestbook, guestbook/web, node-1');
  t.is(suggestion('wiki', []), null);
  t.is(
    suggestion(
      'wiki',
      Array.from({ length: 21 }, (_, index) => `app-number-${index}`),
    ),
    null,
  );
});

test('property: a known word means a known word', t => {
  const words = fc.array(fc.string({ minLength: 1, maxLength: 12 }), { minLength: 1 });
  t.notThrows(() =>
    fc.assert(
      fc.property(words, fc.nat(), (all, at) => all.includes(nearest(all[at % all.length]!, all) ?? '')),
    ),
  );
});
