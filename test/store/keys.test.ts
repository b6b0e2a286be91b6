import test from 'ava';
import fc from 'fast-check';
import { Keyspace, prefixEnd } from '../../src/store/keys.ts';

test('keys are /hop3/CLUSTER/KIND/NAME, and names may have slashes', t => {
  const keys = new Keyspace('prod');
  t.is(keys.key('owners', 'instance/blog/web/0'), '/hop3/prod/owners/instance/blog/web/0');
  t.is(keys.prefix('owners'), '/hop3/prod/owners/');
  t.is(keys.nameOf('owners', '/hop3/prod/owners/instance/blog/web/0'), 'instance/blog/web/0');
  t.is(keys.kindOf('/hop3/prod/owners/instance/blog/web/0'), 'owners');
});

for (const cluster of ['', 'a/b', '-a', 'a b', 'x'.repeat(64)]) {
  test(`"${cluster}" cannot name a cluster`, t => {
    t.throws(() => new Keyspace(cluster), { instanceOf: RangeError, message: /cannot name a cluster/ });
  });
}

test('an entry needs a name', t => {
  t.throws(() => new Keyspace('prod').key('apps', ''), { instanceOf: RangeError });
});

test('a prefix’s range has what starts with it, and nothing else', t => {
  const holds = () =>
    fc.assert(
      fc.property(
        fc.string({ minLength: 1, unit: 'binary' }),
        fc.string({ unit: 'binary' }),
        (prefix, other) => {
          const inRange = (key: string) => {
            const bytes = Buffer.from(key);
            return (
              Buffer.compare(bytes, Buffer.from(prefix)) >= 0 && Buffer.compare(bytes, prefixEnd(prefix)) < 0
            );
          };
          return inRange(prefix + other) && inRange(other) === other.startsWith(prefix);
        },
      ),
    );
  t.notThrows(holds);
});
