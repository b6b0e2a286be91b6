import test from 'ava';
import fc from 'fast-check';
import { leavesTree } from '../../src/artifacts/links.ts';

const cases: {
  name: string;
  path: string;
  target: string;
  links?: Record<string, string>;
  leaves: boolean;
}[] = [
  { name: 'a neighbour', path: 'a', target: 'b', leaves: false },
  { name: 'up and down again inside', path: 'x/y/a', target: '../../b', leaves: false },
  { name: 'the root itself', path: 'x/a', target: '..', leaves: false },
  { name: 'one above the root', path: 'a', target: '..', leaves: true },
  { name: 'out and back in', path: 'a', target: '../tree/b', leaves: true },
  { name: 'absolute', path: 'a', target: '/etc/passwd', leaves: true },
  {
    name: 'through a link that makes the way up shorter than it looks',
    path: 'x',
    target: 'deep/er/up/../etc',
    links: { 'deep/er/up': '../..' },
    leaves: true,
  },
  { name: 'through a link that stays inside', path: 'x', target: 'up/b', links: { up: 'c' }, leaves: false },
  { name: 'through an absolute link', path: 'x', target: 'up/b', links: { up: '/etc' }, leaves: true },
  { name: 'a loop', path: 'a', target: 'b', links: { a: 'b', b: 'a' }, leaves: false },
];

for (const { name, path, target, links = {}, leaves } of cases) {
  test(`a link to ${name} ${leaves ? 'leaves' : 'stays in'} the tree`, t => {
    t.is(leavesTree(path, target, new Map(Object.entries({ ...links, [path]: target }))), leaves);
  });
}

test('a link without a way up and without other links never leaves', t => {
  const part = fc.stringMatching(/^[a-z]{1,3}$/);
  fc.assert(
    fc.property(fc.array(part, { minLength: 1 }), fc.array(part, { minLength: 1 }), (path, target) => {
      t.false(leavesTree(path.join('/'), target.join('/'), new Map()));
    }),
  );
});

test('a link that climbs more levels than it is deep always leaves', t => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 6 }), fc.integer({ min: 1, max: 6 }), (depth, extra) => {
      const path = [...Array<string>(depth).fill('d'), 'link'].join('/');
      t.true(leavesTree(path, '../'.repeat(depth + extra), new Map()));
    }),
  );
});
