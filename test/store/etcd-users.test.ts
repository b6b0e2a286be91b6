import test from 'ava';
import fc from 'fast-check';
import { permissionsOf } from '../../src/store/etcd-users.ts';

/** As etcd reads ranges: from `start` on, `end` not included, bytes compared. */
function may(action: 'read' | 'write', node: string, key: string, holdsAuthority = false): boolean {
  const bytes = Buffer.from(key);
  return permissionsOf('prod', node, holdsAuthority).some(
    ({ start, end, write }) =>
      (action === 'write') === write && Buffer.compare(start, bytes) <= 0 && Buffer.compare(bytes, end) < 0,
  );
}

const name = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?$/);
const own = fc.constantFrom('sessions', 'promises', 'ports', 'answers');
const rest = fc.string({ maxLength: 20 });

test('property: a node writes its own sessions, promises, ports and answers, and never those of another', t => {
  fc.assert(
    fc.property(name, name, own, rest, (node, other, kind, tail) => {
      fc.pre(node !== other);
      t.true(may('write', node, `/hop3/prod/${kind}/${node}/${tail}`));
      t.false(may('write', node, `/hop3/prod/${kind}/${other}/${tail}`));
      t.false(may('write', node, `/hop3/prod/${kind}/${other}/${tail}`, true));
    }),
  );
});

test('property: nobody without the authority writes enrolments, and who has it does', t => {
  fc.assert(
    fc.property(name, rest, (node, tail) => {
      t.false(may('write', node, `/hop3/prod/enrolments/${tail}`));
      t.true(may('write', node, `/hop3/prod/enrolments/${tail}`, true));
    }),
  );
});

test('property: what nodes share, each may write, kinds of later versions among it', t => {
  const confined = /^(sessions|promises|ports|answers|waiters|enrolments)$/;
  const kind = fc.stringMatching(/^[a-z][a-z-]{0,12}$/).filter(text => !confined.test(text));
  fc.assert(
    fc.property(
      name,
      fc.oneof(kind, fc.constantFrom('owners', 'apps', 'events')),
      rest,
      (node, each, tail) => {
        t.true(may('write', node, `/hop3/prod/${each}/${tail}`));
      },
    ),
  );
});

test('property: a node reads all of its cluster; of other keys it neither reads nor writes any', t => {
  fc.assert(
    fc.property(name, rest, name, (node, tail, cluster) => {
      fc.pre(cluster !== 'prod');
      t.true(may('read', node, `/hop3/prod/${tail}`));
      for (const action of ['read', 'write'] as const) {
        t.false(may(action, node, `/hop3/${cluster}/${tail}`));
        t.false(may(action, node, `/hop3/prod${cluster}/${tail}`));
        t.false(may(action, node, `/other/${tail}`));
      }
    }),
  );
});
