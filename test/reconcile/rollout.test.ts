import test from 'ava';
import type { DeploySpec } from '../../src/model/app-spec.ts';
import type { RunningElsewhere } from '../../src/model/reconciliation.ts';
import { mayReplace, oldBeforeNew } from '../../src/reconcile/rollout.ts';

const rolling: DeploySpec = {
  strategy: 'rolling',
  maxSurge: 1,
  maxUnavailable: 0,
  healthyDeadlineSeconds: 120,
};
const said = (text: string): RunningElsewhere[] =>
  text.split(' ').flatMap((word, index) => {
    if (word === '-') return [];
    const [version = '', ready = ''] = word.split(':');
    return [
      {
        node: `node-${index}`,
        instance: `blog/web/${index}`,
        process: 'web',
        index,
        version,
        ready: ready === 'ready',
      },
    ];
  });

interface Row {
  index: number;
  running: string;
  deploy?: Partial<DeploySpec>;
  waitsFor: string | null;
  stopFirst?: true;
}

const rows: Record<string, Row> = {
  'the first is replaced first': { index: 0, running: '1:ready 1:ready 1:ready', waitsFor: null },
  'the second waits for the first': {
    index: 1,
    running: '1:ready 1:ready 1:ready',
    waitsFor: 'blog/web/0 is not ready at version 2 yet (1 of 3 at a time)',
  },
  'the second waits while the first starts': {
    index: 1,
    running: '2:starting 1:ready 1:ready',
    waitsFor: 'blog/web/0 is not ready at version 2 yet (1 of 3 at a time)',
  },
  'the second follows when the first is ready': {
    index: 1,
    running: '2:ready 1:ready 1:ready',
    waitsFor: null,
  },
  'the third waits for the second': {
    index: 2,
    running: '2:ready 1:ready 1:ready',
    waitsFor: 'blog/web/1 is not ready at version 2 yet (1 of 3 at a time)',
  },
  'two at a time with a surge of two': {
    index: 1,
    running: '1:ready 1:ready 1:ready',
    deploy: { maxSurge: 2 },
    waitsFor: null,
  },
  'without a surge as many as may be unavailable': {
    index: 1,
    running: '1:ready 1:ready 1:ready',
    deploy: { maxSurge: 0, maxUnavailable: 2 },
    waitsFor: null,
  },
  'without a surge at least one': {
    index: 0,
    running: '1:ready 1:ready 1:ready',
    deploy: { maxSurge: 0, maxUnavailable: 0 },
    waitsFor: null,
  },
  'one that nobody has holds up no other': { index: 1, running: '- 1:ready 1:ready', waitsFor: null },
  'all at once when everything is stopped first': {
    index: 2,
    running: '1:ready 1:ready 1:ready',
    deploy: { strategy: 'stop-deploy' },
    waitsFor: null,
  },
  'beside all at once, for a switch': {
    index: 2,
    running: '1:ready 1:ready 1:ready',
    deploy: { strategy: 'blue-green' },
    waitsFor: null,
  },
  'with both bounds one beside, one stopped first': {
    index: 1,
    running: '1:ready 1:ready 1:ready',
    deploy: { maxUnavailable: 1 },
    waitsFor: null,
    stopFirst: true,
  },
  'and not a third': {
    index: 2,
    running: '1:ready 1:ready 1:ready',
    deploy: { maxUnavailable: 1 },
    waitsFor: 'blog/web/0 is not ready at version 2 yet (2 of 3 at a time)',
  },
  'nor another stopped while one is not ready': {
    index: 2,
    running: '2:ready 2:starting 1:ready',
    deploy: { maxUnavailable: 1, maxSurge: 0 },
    waitsFor: 'blog/web/1 is not ready at version 2 yet (1 of 3 at a time)',
  },
  'whatever made it unready': {
    index: 0,
    running: '1:ready 1:ready 1:failed',
    deploy: { maxUnavailable: 1, maxSurge: 0 },
    waitsFor: 'blog/web/2 is not ready (at most 1 of 3 may not be)',
  },
  'what is not ready is no loss': { index: 2, running: '1:ready 1:ready 1:failed', waitsFor: null },
};

for (const [title, { index, running, deploy, waitsFor, stopFirst }] of Object.entries(rows)) {
  test(title, t => {
    const self = { instance: `blog/web/${index}`, process: 'web', index, version: '2' };
    const turn = mayReplace(self, { ...rolling, ...deploy }, 3, said(running));
    t.like(turn, { allowed: waitsFor === null, waitsFor });
    if (stopFirst) t.true(turn.stopFirst);
  });
}

test('other apps and other process types are none of its business', t => {
  const others = said('1:ready').flatMap(each => [
    { ...each, instance: 'shop/web/0' },
    { ...each, instance: 'blog/mailer/0', process: 'mailer' },
  ]);
  const self = { instance: 'blog/web/1', process: 'web', index: 1, version: '2' };
  t.true(mayReplace(self, rolling, 3, others).allowed);
});

test('a second copy that is ready at the new version counts for its instance', t => {
  const both = [...said('1:ready'), ...said('2:ready').map(each => ({ ...each, node: 'other' }))];
  const self = { instance: 'blog/web/1', process: 'web', index: 1, version: '2' };
  t.true(mayReplace(self, rolling, 3, both).allowed);
});

for (const strategy of ['rolling', 'canary', 'blue-green', 'stop-deploy'] as const) {
  test(`where no second copy can stand, ${strategy} stops ${strategy === 'stop-deploy' ? 'all' : 'one'} at a time`, t => {
    const deploy = oldBeforeNew({ ...rolling, strategy, maxSurge: 3 });
    const turns = [0, 1, 2].map(index =>
      mayReplace(
        { instance: `blog/web/${index}`, process: 'web', index, version: '2' },
        deploy,
        3,
        said('1:ready 1:ready 1:ready'),
      ),
    );
    t.deepEqual(
      turns.map(({ allowed }) => allowed),
      strategy === 'stop-deploy' ? [true, true, true] : [true, false, false],
    );
    t.true(turns.every(({ allowed, stopFirst }) => stopFirst === allowed));
  });
}
