import test from 'ava';
import type { OwnerRecord } from '../../src/model/records.ts';
import { abandonedPorts } from '../../src/ownership/abandoned-ports.ts';
import { ownerRecord } from '../agent/helpers.ts';

const RELEASED = { at: '2026-01-01T00:00:00.000Z', reason: 'not wanted' };

const cases: [what: string, owner: OwnerRecord | undefined, present: string[], goes: boolean][] = [
  ['of an instance that another node has goes', ownerRecord({ node: 'node-2' }), ['node-2'], true],
  ['of an instance that was released goes', ownerRecord({ released: RELEASED }), [], true],
  ['of an instance that nobody knows any more goes', undefined, [], true],
  ['of an instance that is still its own stays', ownerRecord(), ['node-2'], false],
  [
    'of an instance that it may still run stays',
    ownerRecord({ node: 'node-2', mayStillRun: ['node-3', 'node-1'] }),
    ['node-2'],
    false,
  ],
  [
    'of an instance that it handed over, and may still run, stays',
    ownerRecord({ released: RELEASED, mayStillRun: ['node-1'] }),
    [],
    false,
  ],
  ['which is there is its own to let go', ownerRecord({ node: 'node-2' }), ['node-1', 'node-2'], false],
];
for (const [what, owner, present, goes] of cases) {
  test(`the key of a port of a node ${what}`, t => {
    const port = { name: 'node-1/8448/tcp', value: { v: 1 as const, app: 'blog', instance: 'blog/web/0' } };
    const ownerOf = (instance: string): OwnerRecord | undefined =>
      instance === 'blog/web/0' ? owner : undefined;
    t.deepEqual(abandonedPorts([port], new Set(present), ownerOf), goes ? [port] : []);
  });
}
