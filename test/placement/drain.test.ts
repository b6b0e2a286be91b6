import test from 'ava';
import { drain, type DrainInput } from '../../src/placement/drain.ts';

type Held = DrainInput['held'][number];

function held(instance: string, ...nodes: string[]): Held {
  const candidates = nodes.map(node => ({ node, score: 1, reasons: [] }));
  const excluded = [{ node: 'node-1', reason: 'is draining' }];
  return { instance, ranking: { instance, subject: `instance/${instance}`, candidates, excluded } };
}

const zero = held('blog/web/0', 'node-2', 'node-3');
const one = held('blog/web/1', 'node-3');
const stuck = held('a/web/0');
const stays = [{ instance: 'a/web/0', why: 'node-1 is draining' }];
const moving = (overdue: boolean) => [{ instance: 'shop/web/0', overdue }];

interface Row extends DrainInput {
  next: string | null;
  left: number;
  stays?: typeof stays;
}

const rows: Record<string, Row> = {
  'with nothing there it is empty': { held: [], moving: [], next: null, left: 0 },
  'the first goes first, to the best for it': {
    held: [one, zero],
    moving: [],
    next: 'blog/web/0 to node-2',
    left: 2,
  },
  'what is on its way is waited for': { held: [zero], moving: moving(false), next: null, left: 2 },
  'what takes too long holds up no other': {
    held: [zero],
    moving: moving(true),
    next: 'blog/web/0 to node-2',
    left: 2,
  },
  'what nobody can take stays, and holds up no other': {
    held: [stuck, zero],
    moving: [],
    next: 'blog/web/0 to node-2',
    left: 2,
    stays,
  },
  'with only such left nothing goes': { held: [stuck], moving: [], next: null, left: 1, stays },
};

for (const [title, row] of Object.entries(rows)) {
  test(title, t => {
    const step = drain(row);
    t.is(step.next && `${step.next.instance} to ${step.next.to}`, row.next);
    t.is(step.left, row.left);
    t.deepEqual(step.stays, row.stays ?? []);
  });
}

test('a node that is alone is told so', t => {
  const alone = { ...stuck, ranking: { ...stuck.ranking, excluded: [] } };
  t.is(drain({ held: [alone], moving: [] }).stays[0]?.why, 'there is no other node');
});
