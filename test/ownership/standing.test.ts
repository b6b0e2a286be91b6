import test from 'ava';
import type { OwnerRecord } from '../../src/model/records.ts';
import { standing, type Standing } from '../../src/ownership/standing.ts';

const self = { node: 'node-1', incarnation: 'b' };
const owner = (parts: Partial<OwnerRecord> = {}) => ({
  revision: 77n,
  value: {
    v: 1 as const,
    subject: 'instance/blog/web/0',
    node: 'node-1',
    incarnation: 'b',
    ttlSeconds: 10,
    holder: 'agent',
    operation: 'op',
    mayStillRun: ['node-9'],
    released: null,
    token: null,
    ...parts,
  },
});

const rows: Record<string, [ReturnType<typeof owner> | undefined, Partial<Standing>]> = {
  'never owned': [undefined, { state: 'Inactive', mine: false, free: true, lastNode: null, token: null }],
  'owned by this very session': [
    owner(),
    { state: 'Assigned', mine: true, free: false, token: '77', mayStillRun: ['node-9'] },
  ],
  'owned by another live session': [
    owner({ node: 'node-2', incarnation: 'x' }),
    { state: 'Assigned', mine: false, free: false, lastNode: 'node-2', reason: 'owned by node-2' },
  ],
  'owned by a session that is gone': [
    owner({ node: 'node-3', incarnation: 'y' }),
    {
      state: 'Unassigned',
      mine: false,
      free: true,
      lastNode: 'node-3',
      mayStillRun: ['node-9', 'node-3'],
      reason: 'the session of node-3 is gone',
    },
  ],
  'owned by a dead session of this node': [
    owner({ incarnation: 'a' }),
    {
      state: 'Unassigned',
      mine: false,
      free: true,
      mayStillRun: ['node-9', 'node-1'],
      reason: 'this node had it in an earlier session',
    },
  ],
  'released, though its session lives': [
    owner({ node: 'node-2', incarnation: 'x', released: { at: 'then', reason: 'scaled down' } }),
    {
      state: 'Unassigned',
      free: true,
      mayStillRun: ['node-9'],
      reason: 'released by node-2: scaled down',
    },
  ],
  'written again after it was taken, it keeps its token': [owner({ token: '42' }), { token: '42' }],
};

for (const [title, [entry, expected]] of Object.entries(rows)) {
  test(title, t => t.like(standing(entry, new Set(['node-1/b', 'node-2/x']), self), expected));
}

test('an owner key of the own session is not the own one once the session key is gone', t => {
  t.like(standing(owner(), new Set(), self), { mine: false, free: true, state: 'Unassigned' });
});
