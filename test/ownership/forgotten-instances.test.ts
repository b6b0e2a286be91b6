import test from 'ava';
import { forgottenInstances } from '../../src/ownership/forgotten-instances.ts';
import { ownerRecord } from '../agent/helpers.ts';

const released = { at: '2026-01-01T00:00:00.000Z', reason: 'the app is removed' };

const rows: {
  title: string;
  name?: string;
  app?: string;
  owner: Parameters<typeof ownerRecord>[0];
  goes: boolean;
}[] = [
  { title: 'a released one of an app that is gone goes', owner: { released }, goes: true },
  { title: 'one of an app that is there stays', app: 'blog', owner: { released }, goes: false },
  { title: 'one that was never released stays', owner: { released: null }, goes: false },
  {
    title: 'one of which something may still run stays',
    owner: { released, mayStillRun: ['node-3'] },
    goes: false,
  },
  { title: 'a name is no instance', name: 'agent/blog', owner: { released }, goes: false },
];
for (const { title, name = 'instance/blog/web/0', app, owner, goes } of rows) {
  test(`of the owner keys of instances, ${title}`, t => {
    const key = { name, value: ownerRecord(owner) };
    t.deepEqual(
      forgottenInstances([key], asked => asked === app),
      goes ? [key] : [],
    );
  });
}
