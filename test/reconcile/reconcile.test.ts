import test from 'ava';
import fc from 'fast-check';
import type {
  DesiredInstance,
  StartHistory,
  Unit,
  UnwantedInstance,
} from '../../src/model/reconciliation.ts';
import { reconcile } from '../../src/reconcile/reconcile.ts';
import { appSpec, desiredInstance, processSpec, unit, unitExit } from '../support/nouns.ts';

const nowMs = 100_000;
const drainMs = 5_000;

interface Row {
  desired?: DesiredInstance[];
  unwanted?: UnwantedInstance[];
  units?: Unit[];
  histories?: StartHistory[];
  actions: string[];
  statuses?: string[];
  wakeInMs?: number | null;
}

const old = (parts: Partial<Unit> = {}) => unit({ unit: 'old', version: '1', release: 1, ...parts });
const young = (parts: Partial<Unit> = {}) =>
  unit({ unit: 'young', version: '2', release: 2, startedMs: 90_000, ...parts });
const second = (parts: Partial<DesiredInstance> = {}) =>
  desiredInstance({ version: '2', release: 2, ...parts });
const failed = (failures: number, parts: Partial<StartHistory> = {}): StartHistory => ({
  instance: 'blog/web/0',
  version: '1',
  failures,
  lastFailureMs: nowMs - 500,
  lastTrouble: 'version 1 exited with code 1',
  everReady: false,
  lastExit: { code: 1, signal: null },
  ...parts,
});
const unwanted: UnwantedInstance = {
  instance: 'blog/web/0',
  subject: 'instance/blog/web/0',
  token: '100',
  reason: 'scaled down',
  stopTimeoutSeconds: 7,
};
const stopDeploy = appSpec({
  deploy: { strategy: 'stop-deploy', maxSurge: 1, maxUnavailable: 1, healthyDeadlineSeconds: 120 },
});
const worker = appSpec({ processes: [processSpec({ type: 'web', routed: false })], hostnames: [] });
const never = appSpec({ restart: { policy: 'never', max: 5 } });
const onFailureWorker = { ...worker, restart: { policy: 'on-failure' as const, max: 5 } };
const hung = { kind: 'unhealthy' as const, sinceMs: 99_000, failures: 3, evidence: 'no answer in 2 s' };

const rows: Record<string, Row> = {
  'an instance with nothing running is started': {
    desired: [desiredInstance()],
    actions: ['start blog/web/0 1'],
    statuses: ['blog/web/0 starting 1'],
    wakeInMs: 30_000,
  },
  'an instance that waits for something is not started': {
    desired: [desiredInstance({ mayStart: false, waitingFor: 'waits for auth' })],
    actions: [],
    statuses: ['blog/web/0 pending 1: waits for auth'],
  },
  'an instance that runs is left alone, and nothing needs waking': {
    desired: [desiredInstance()],
    units: [old()],
    actions: [],
    statuses: ['blog/web/0 running ready 1 at 4001'],
    wakeInMs: null,
  },
  'a copy that starts is waited for until its start timeout': {
    desired: [desiredInstance()],
    units: [old({ phase: { kind: 'starting' }, startedMs: 80_000 })],
    actions: [],
    statuses: ['blog/web/0 starting 1 at 4001'],
    wakeInMs: 10_000,
  },
  'a copy that starts too slowly is stopped and tried again, and called slow, not crashing': {
    desired: [desiredInstance()],
    units: [old({ phase: { kind: 'starting' }, startedMs: 70_000 })],
    actions: ['stop old 10', 'start blog/web/0 1'],
    statuses: ['blog/web/0 starting 1'],
  },
  'a first crash is restarted at once': {
    desired: [desiredInstance()],
    units: [old({ phase: { kind: 'exited', sinceMs: nowMs, exit: unitExit() } })],
    histories: [failed(1)],
    actions: ['forget old', 'start blog/web/0 1'],
  },
  'a third crash waits for its backoff': {
    desired: [desiredInstance()],
    histories: [failed(3)],
    actions: [],
    statuses: [
      'blog/web/0 backoff 1: 3 failures in a row, waiting 2 s before the next start: version 1 exited with code 1',
    ],
    wakeInMs: 1_500,
  },
  'what was never ready is given up after restart.max failures': {
    desired: [desiredInstance()],
    histories: [failed(5)],
    actions: [],
    statuses: ['blog/web/0 failed 1: given up after 5 failed starts in a row: version 1 exited with code 1'],
    wakeInMs: null,
  },
  'what was once ready is tried for ever': {
    desired: [desiredInstance()],
    histories: [failed(50, { everReady: true, lastFailureMs: nowMs - 300_000 })],
    actions: ['start blog/web/0 1'],
  },
  'a new version starts with a clean record': {
    desired: [second()],
    histories: [failed(5)],
    actions: ['start blog/web/0 2'],
  },
  'policy never starts nothing again': {
    desired: [desiredInstance({ spec: never })],
    histories: [failed(1)],
    actions: [],
    statuses: ['blog/web/0 failed 1: not started again (restart policy never): version 1 exited with code 1'],
  },
  'a worker that ended with code 0 is done under on-failure': {
    desired: [desiredInstance({ spec: onFailureWorker })],
    histories: [failed(1, { lastExit: { code: 0, signal: null } })],
    actions: [],
    statuses: [
      'blog/web/0 failed 1: done, not started again (restart policy on-failure): version 1 exited with code 1',
    ],
  },
  'a worker that was killed is started again under on-failure': {
    desired: [desiredInstance({ spec: onFailureWorker })],
    histories: [failed(1, { lastExit: { code: null, signal: 'SIGKILL' } })],
    actions: ['start blog/web/0 1'],
  },
  'a web process that ended with code 0 is started again under on-failure': {
    desired: [desiredInstance({ spec: appSpec({ restart: { policy: 'on-failure', max: 5 } }) })],
    histories: [failed(1, { lastExit: { code: 0, signal: null } })],
    actions: ['start blog/web/0 1'],
  },
  'a failure remembered from a boot with a later clock holds nothing up': {
    desired: [desiredInstance()],
    histories: [failed(4, { lastFailureMs: nowMs + 1_000_000 })],
    actions: ['start blog/web/0 1'],
  },
  'one bad answer takes nothing out of traffic': {
    desired: [desiredInstance()],
    units: [old({ phase: { ...hung, failures: 2 } })],
    actions: [],
    statuses: ['blog/web/0 running ready 1 at 4001'],
  },
  'a hung process is stopped and another started beside it': {
    desired: [desiredInstance()],
    units: [old({ phase: hung })],
    actions: ['stop old 10', 'start blog/web/0 1'],
    statuses: ['blog/web/0 starting 1'],
  },
  'a hung process that must be alone is stopped first': {
    desired: [desiredInstance({ process: processSpec({ exclusive: true }) })],
    units: [old({ phase: hung })],
    actions: ['stop old 10'],
  },
  'a hung process under policy never stays, and is said to be unhealthy': {
    desired: [desiredInstance({ spec: never })],
    units: [old({ phase: hung })],
    actions: [],
    statuses: ['blog/web/0 unhealthy 1 at 4001: no answer in 2 s'],
  },
  'a new version is started beside the old one, which goes on serving': {
    desired: [second()],
    units: [old()],
    actions: ['start blog/web/0 2'],
    statuses: ['blog/web/0 running ready 1 at 4001'],
  },
  'the old one goes on while the new one starts': {
    desired: [second()],
    units: [old(), young({ phase: { kind: 'starting' } })],
    actions: [],
    statuses: ['blog/web/0 running ready 1 at 4001'],
    wakeInMs: 20_000,
  },
  'the old one is drained when the new one is ready': {
    desired: [second()],
    units: [old(), young({ endpoint: { host: '127.0.0.1', port: 4002 } })],
    actions: ['drain old'],
    statuses: ['blog/web/0 running ready 2 at 4002'],
    wakeInMs: 5_000,
  },
  'the drained one is let finish its requests': {
    desired: [second()],
    units: [old({ phase: { kind: 'draining', sinceMs: 96_000 } }), young()],
    actions: [],
    wakeInMs: 1_000,
  },
  'the drained one is stopped after that': {
    desired: [second()],
    units: [old({ phase: { kind: 'draining', sinceMs: 95_000 } }), young()],
    actions: ['stop old 10'],
  },
  'a new version that fails leaves the old one serving, and says so': {
    desired: [second()],
    units: [old()],
    histories: [failed(5, { version: '2', lastTrouble: 'version 2 exited with code 1\nno such module' })],
    actions: [],
    statuses: [
      'blog/web/0 running ready 1 at 4001: version 1 goes on instead of 2: given up after 5 failed starts in a row: version 2 exited with code 1\nno such module',
    ],
  },
  'a new version that is to stand ready beside nothing starts like any other': {
    desired: [second({ serves: 'not-yet' })],
    units: [young({ phase: { kind: 'starting' } })],
    actions: [],
    statuses: ['blog/web/0 starting 2 at 4001'],
    wakeInMs: 20_000,
  },
  'a new version that stands ready beside nothing says so': {
    desired: [second({ serves: 'not-yet' })],
    units: [young()],
    actions: [],
    statuses: ['blog/web/0 standby 2 at 4001'],
  },
  'nothing is replaced before its turn': {
    desired: [second({ mayReplace: false, replaceWaitsFor: 'blog/web/1' })],
    units: [old()],
    actions: [],
    statuses: ['blog/web/0 running ready 1 at 4001'],
  },
  'a crash of the old one before its turn starts the new one': {
    desired: [second({ mayReplace: false })],
    units: [old({ phase: { kind: 'exited', sinceMs: nowMs, exit: unitExit() } })],
    actions: ['forget old', 'start blog/web/0 2'],
  },
  'an exclusive one is stopped before the next version starts': {
    desired: [second({ process: processSpec({ exclusive: true, routed: false }) })],
    units: [old()],
    actions: ['stop old 10'],
    statuses: ['blog/web/0 stopping 1 at 4001'],
  },
  'an exclusive one is not started while the old one is stopping': {
    desired: [second({ process: processSpec({ exclusive: true }) })],
    units: [old({ phase: { kind: 'stopping', sinceMs: 99_000 } })],
    actions: [],
    statuses: ['blog/web/0 stopping 1 at 4001'],
  },
  'an exclusive one is started when the old one has ended': {
    desired: [second({ process: processSpec({ exclusive: true }) })],
    units: [old({ phase: { kind: 'exited', sinceMs: nowMs, exit: unitExit({ requested: true }) } })],
    actions: ['forget old', 'start blog/web/0 2'],
  },
  'stop-deploy drains the old one first': {
    desired: [second({ spec: stopDeploy })],
    units: [old()],
    actions: ['drain old'],
    statuses: ['blog/web/0 stopping 1 at 4001'],
  },
  'stop-deploy keeps the old one while the new one may not start yet': {
    desired: [second({ spec: stopDeploy, mayStart: false, waitingFor: 'the artifact is being fetched' })],
    units: [old()],
    actions: [],
    statuses: ['blog/web/0 running ready 1 at 4001'],
  },
  'a worker needs no drain': {
    desired: [second({ spec: worker })],
    units: [old({ endpoint: null }), young({ endpoint: null })],
    actions: ['stop old 10'],
  },
  'an app without host names needs no drain': {
    desired: [second({ spec: appSpec({ hostnames: [] }) })],
    units: [old(), young()],
    actions: ['stop old 10'],
  },
  'of two ready copies of one version the newest stays': {
    desired: [second()],
    units: [young({ unit: 'elder', startedMs: 10 }), young()],
    actions: ['drain elder'],
    statuses: ['blog/web/0 running ready 2 at 4001'],
  },
  'two copies that start are both waited for, as either may be the one that answers': {
    desired: [desiredInstance()],
    units: [
      old({ phase: { kind: 'starting' }, startedMs: 90_000 }),
      old({ unit: 'other', phase: { kind: 'starting' }, startedMs: 90_000 }),
    ],
    actions: [],
  },
  'what this node does not own is drained, then stopped': {
    units: [
      old(),
      old({ unit: 'b', phase: { kind: 'draining', sinceMs: 0 } }),
      old({ unit: 'c', endpoint: null }),
    ],
    actions: ['drain old', 'stop b 10', 'stop c 10'],
    statuses: ['blog/web/0 stopping 1 at 4001: not owned by this node'],
  },
  'what is unwanted is drained before it is released': {
    unwanted: [unwanted],
    units: [old()],
    actions: ['drain old'],
    statuses: ['blog/web/0 stopping 1 at 4001: scaled down'],
    wakeInMs: 5_000,
  },
  'what is unwanted gets the stop timeout of its process': {
    unwanted: [unwanted],
    units: [old({ phase: { kind: 'starting' } })],
    actions: ['stop old 7'],
  },
  'what is unwanted and stopping is not released yet': {
    unwanted: [unwanted],
    units: [old({ phase: { kind: 'stopping', sinceMs: 99_000 } })],
    actions: [],
  },
  'what is unwanted is released when nothing of it is left': {
    unwanted: [unwanted],
    units: [old({ phase: { kind: 'exited', sinceMs: nowMs, exit: unitExit({ requested: true }) } })],
    actions: ['forget old', 'release blog/web/0'],
    statuses: [],
  },
};

for (const [title, row] of Object.entries(rows)) {
  test(title, t => {
    const result = run(row);
    t.deepEqual(result.actions.map(actionText), row.actions);
    if (row.statuses) t.deepEqual(result.statuses.map(statusText), row.statuses);
    if (row.wakeInMs !== undefined) t.is(result.wakeInMs, row.wakeInMs);
    for (const action of result.actions) t.not(action.reason, '');
  });
}

test('a start that was too slow counts as a failure with its reason', t => {
  const { histories } = run({
    desired: [desiredInstance()],
    units: [old({ phase: { kind: 'starting' }, startedMs: 0 })],
    actions: [],
  });
  t.is(histories[0]?.failures, 1);
  t.regex(histories[0]?.lastTrouble ?? '', /not ready within 30 s of its start/);
});

test('the order of units changes nothing', t => {
  const three = [old(), young(), young({ unit: 'c' })];
  fc.assert(
    fc.property(fc.shuffledSubarray(three, { minLength: 3 }), units => {
      const actions = run({ desired: [second()], units, actions: [] }).actions.map(actionText);
      t.deepEqual(actions.sort(), ['drain c', 'drain old']);
    }),
  );
});

function run(row: Row) {
  return reconcile({
    desired: row.desired ?? [],
    unwanted: row.unwanted ?? [],
    units: row.units ?? [],
    histories: row.histories ?? [],
    nowMs,
    drainMs,
  });
}

function actionText(action: ReturnType<typeof run>['actions'][number]): string {
  switch (action.kind) {
    case 'start':
      return `start ${action.instance} ${action.version}`;
    case 'stop':
      return `stop ${action.unit} ${action.graceSeconds}`;
    case 'release':
      return `release ${action.instance}`;
    case 'drain':
    case 'forget':
      return `${action.kind} ${action.unit}`;
  }
}

function statusText(status: ReturnType<typeof run>['statuses'][number]): string {
  const ready = status.ready ? ' ready' : '';
  const place = status.endpoint ? ` at ${status.endpoint.port}` : '';
  const trouble = status.trouble === null ? '' : `: ${status.trouble}`;
  return `${status.instance} ${status.state}${ready} ${status.version}${place}${trouble}`;
}
