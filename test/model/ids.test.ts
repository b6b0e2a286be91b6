import test from 'ava';
import fc from 'fast-check';
import { instanceId, instanceOfSubject, parseInstanceId, subjectOfInstance } from '../../src/model/ids.ts';

test('an instance’s id is its app, process type and index, there and back', t => {
  t.is(instanceId({ app: 'blog', process: 'web', index: 0 }), 'blog/web/0');
  const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,10}$/);
  fc.assert(
    fc.property(name, name, fc.nat(), (app, process, index) => {
      t.deepEqual(parseInstanceId(instanceId({ app, process, index })), { app, process, index });
    }),
  );
});

for (const text of [
  '',
  'blog',
  'blog/web',
  'blog/web/',
  'blog/web/x',
  'blog/web/-1',
  '/web/0',
  'blog/web/0/1',
]) {
  test(`"${text}" is no instance`, t => {
    t.throws(() => parseInstanceId(text), { instanceOf: RangeError, message: /APP\/PROCESS\/INDEX/ });
  });
}

test('a subject says whether it is an instance', t => {
  t.is(subjectOfInstance('blog/web/0'), 'instance/blog/web/0');
  t.is(instanceOfSubject('instance/blog/web/0'), 'blog/web/0');
  t.is(instanceOfSubject('agent/nightly-report'), null);
});
