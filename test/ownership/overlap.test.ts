import test from 'ava';
import type { RunningElsewhere } from '../../src/model/reconciliation.ts';
import { surplusCopies } from '../../src/ownership/overlap.ts';
import type { Standing } from '../../src/ownership/standing.ts';

const instance = 'blog/web/0';
const subject = `instance/${instance}`;
const copy = (node: string, ready: boolean): RunningElsewhere => ({
  node,
  instance,
  process: 'web',
  index: 0,
  version: '1',
  ready,
});
const stands = (parts: Partial<Standing>): Standing => ({
  state: 'Assigned',
  mine: false,
  free: false,
  lastNode: 'node-2',
  token: '5',
  mayStillRun: [],
  reason: '',
  ...parts,
});

interface Row {
  standing?: Standing;
  elsewhere?: RunningElsewhere[];
  unwanted?: boolean;
  exclusive?: boolean;
  stopNow: boolean | null;
}

const rows: Record<string, Row> = {
  'what this node owns is no surplus': { standing: stands({ mine: true }), stopNow: null },
  'a copy goes on while nobody is known to own it': { stopNow: false },
  'a copy goes on while its subject is free': {
    standing: stands({ free: true, state: 'Unassigned' }),
    stopNow: false,
  },
  'a copy goes on while the new owner has none': { standing: stands({}), stopNow: false },
  'a copy goes on while the new owner is starting': {
    standing: stands({}),
    elsewhere: [copy('node-2', false)],
    stopNow: false,
  },
  'a copy goes when the new owner is ready': {
    standing: stands({}),
    elsewhere: [copy('node-2', true)],
    stopNow: true,
  },
  'that somebody else is ready, who does not own it, is not enough': {
    standing: stands({}),
    elsewhere: [copy('node-3', true)],
    stopNow: false,
  },
  'its own promise does not count as the new owner': {
    standing: stands({ lastNode: 'node-1' }),
    elsewhere: [copy('node-1', true)],
    stopNow: false,
  },
  'a copy that nobody wants goes': { unwanted: true, stopNow: true },
  'a copy that must be alone goes at once': {
    standing: stands({ free: true }),
    exclusive: true,
    stopNow: true,
  },
};

for (const [title, row] of Object.entries(rows)) {
  test(title, t => {
    const copies = surplusCopies({
      self: 'node-1',
      runningHere: [instance],
      standings: new Map(row.standing ? [[subject, row.standing]] : []),
      elsewhere: row.elsewhere ?? [],
      wanted: new Set(row.unwanted ? [] : [instance]),
      exclusive: new Set(row.exclusive ? [instance] : []),
    });
    t.deepEqual(
      copies.map(each => each.stopNow),
      row.stopNow === null ? [] : [row.stopNow],
    );
    for (const { reason } of copies) t.not(reason, '');
  });
}
