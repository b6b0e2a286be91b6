import test from 'ava';
import type { AppSpec } from '../../src/model/app-spec.ts';
import type { AppRecord, Rollout } from '../../src/model/records.ts';
import { canaryCount, passedOver, wantedRelease, wantedTypes } from '../../src/reconcile/wanted-release.ts';
import { appRecord } from '../agent/helpers.ts';
import { appSpec, processSpec } from '../support/nouns.ts';

const web = (scale: number) => processSpec({ scale });
const worker = (scale: number) => processSpec({ type: 'worker', routed: false, scale });
const single = processSpec({ type: 'single', routed: false, exclusive: true });

function changing(stage: Rollout['stage'], from: AppSpec['processes'], to: AppSpec['processes']): AppRecord {
  const before = { release: 1, spec: appSpec({ processes: from }), artifact: null, restarts: {} };
  const spec = appSpec({ processes: to });
  return appRecord(
    { ...spec, deploy: { ...spec.deploy, canaryShare: 0.3 } },
    { release: 2, rollout: { before, stage } },
  );
}

/** As in `web/0:2 web/1:1`; with how it serves where that is not at once. */
function wanted(record: AppRecord): string {
  return wantedTypes(record)
    .flatMap(({ type, count }) =>
      Array.from({ length: count }, (_, index) => {
        const found = wantedRelease(record, type, index);
        const serves = found === null || found.serves === 'now' ? '' : ` ${found.serves}`;
        return `${type}/${index}:${found?.version ?? '-'}${serves}`;
      }),
    )
    .join(', ');
}

const rows: [title: string, record: AppRecord, wanted: string][] = [
  ['without a rollout all run the release', appRecord(appSpec({ processes: [web(2)] })), 'web/0:1, web/1:1'],
  ['while replacing all run the new one', changing('replacing', [web(2)], [web(2)]), 'web/0:2, web/1:2'],
  ['what the new one does not have goes', changing('replacing', [web(1), worker(1)], [web(1)]), 'web/0:2'],
  [
    'a share of each type is the canary',
    changing('canary', [web(4)], [web(4)]),
    'web/0:2, web/1:2, web/2:1, web/3:1',
  ],
  ['one is, of few', changing('canary', [web(2)], [web(2)]), 'web/0:2, web/1:1'],
  [
    'beside a canary goes on what only the old one has, and waits what only the new one has',
    changing('canary', [web(2), worker(1)], [web(2), processSpec({ type: 'mail', routed: false, scale: 3 })]),
    'web/0:2, web/1:1, mail/0:2, mail/1:-, mail/2:-, worker/0:1',
  ],
  [
    'a scale that grows does so after the canary',
    changing('canary', [web(1)], [web(4)]),
    'web/0:2, web/1:2, web/2:-, web/3:-',
  ],
  [
    'beside the old ones the new ones get ready, and wait',
    changing('beside', [web(2)], [web(3)]),
    'web/0:2 after-old, web/1:2 after-old, web/2:2 not-yet',
  ],
  [
    'a scale that shrinks does so at the switch',
    changing('beside', [web(2)], [web(1)]),
    'web/0:2 after-old, web/1:1',
  ],
  [
    'what works without being asked, and what must never run twice, waits for the switch',
    changing('beside', [web(1), worker(1), single], [web(1), worker(2), single]),
    'web/0:2 after-old, worker/0:1, worker/1:-, single/0:1',
  ],
];

for (const [title, record, expected] of rows) test(title, t => t.is(wanted(record), expected));

test('only where the release before has nothing does a copy of a release that was passed over get no requests', t => {
  const at = (record: AppRecord) => [0, 1, 2].map(index => passedOver(record, 'web', index));
  const replacing = changing('replacing', [web(2)], [web(3)]);
  t.deepEqual(at(replacing), [[], [], []]);
  t.deepEqual(at({ ...replacing, rollout: { ...replacing.rollout!, passedOver: [7] } }), [[], [], [7]]);
  t.deepEqual(at(changing('beside', [web(2)], [web(3)])), [[], [], [2]], 'as by a restart');
  t.deepEqual(at(appRecord(appSpec({ processes: [web(3)] }))), [[], [], []]);
});

test('each runs with the spec and the artifact of its release', t => {
  const record = changing('canary', [web(2)], [web(2)]);
  t.is(wantedRelease(record, 'web', 0)?.spec, record.spec);
  t.is(wantedRelease(record, 'web', 0)?.artifact, record.artifact);
  t.is(wantedRelease(record, 'web', 1)?.spec, record.rollout?.before.spec);
  t.is(wantedRelease(record, 'web', 1)?.artifact, null);
});

test('a restart is part of the version of its own release', t => {
  const record = changing('canary', [web(2)], [web(2)]);
  record.restarts = { web: 1 };
  t.is(wanted(record), 'web/0:2.1, web/1:1');
});

test('a canary is at least one and at most all', t => {
  const { spec } = changing('canary', [web(1)], [web(1)]);
  t.deepEqual(
    [0, 1, 2, 3, 4, 10].map(scale => canaryCount(spec, scale)),
    [0, 1, 1, 1, 2, 3],
  );
});
