import test from 'ava';
import { acceptedWrongly, startResource, type Accepted } from './resource.ts';

const subject = 'instance/single/writer/0';
const of = (node: string, token: bigint): Accepted => ({ subject, node, token });
const owners = [of('node-1', 7n), { ...of('node-1', 7n), node: null }, of('node-2', 9n)];

const histories: [what: string, accepted: Accepted[], wrong: number][] = [
  ['one after the other', [of('node-1', 7n), of('node-2', 9n)], 0],
  ['only the second wrote', [of('node-2', 9n)], 0],
  ['a subject that nobody took', [of('node-2', 9n), { ...of('node-1', 7n), subject: 'y' }], 1],
  ['the first again, after the second', [of('node-1', 7n), of('node-2', 9n), of('node-1', 7n)], 1],
  ['a node that has the token of another', [of('node-3', 9n)], 1],
  ['a token that nobody was given', [of('node-2', 8n)], 1],
];
for (const [what, accepted, wrong] of histories) {
  test(`what a resource let in, against what etcd said: ${what}`, t => {
    t.is(acceptedWrongly(accepted, owners).length, wrong);
  });
}

test('tokens that begin again are seen, though each is higher than the one before to the resource', t => {
  const again = [of('node-1', 7n), of('node-2', 3n)];
  t.is(acceptedWrongly([of('node-2', 3n), of('node-1', 7n)], again).length, 1);
});

test('a resource refuses what is older than what it was shown, counts that, and tells who wrote the rest', async t => {
  const resource = await startResource();
  t.teardown(() => resource.close());
  const write = async (node: string, token: bigint): Promise<number> => {
    const headers = { node, 'fencing-token': String(token) };
    return (await fetch(`${resource.url}/single/writer/0`, { method: 'PUT', headers })).status;
  };
  t.deepEqual(
    [
      await write('node-1', 7n),
      await write('node-1', 7n),
      await write('node-2', 9n),
      await write('node-1', 7n),
    ],
    [204, 204, 204, 409],
  );
  t.is(resource.staleAttempts(), 1);
  t.is(resource.staleAttempts(), 0);
  t.deepEqual(resource.accepted, [of('node-1', 7n), of('node-2', 9n)]);
});
