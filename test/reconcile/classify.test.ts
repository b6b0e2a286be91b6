import test from 'ava';

import type { AppSpec } from '../../src/model/app-spec.ts';
import { classify } from '../../src/reconcile/classify.ts';

const spec: AppSpec = {
  app: 'blog',
  title: null,
  version: null,
  source: { kind: 'uploaded', digest: 'sha256:aa' },
  build: {
    builder: 'auto',
    toolchain: 'auto',
    beforeBuild: [],
    build: [],
    afterBuild: [],
    ignore: [],
    pipInstall: [],
  },
  beforeRun: [],
  processes: [
    {
      type: 'web',
      kind: 'command',
      command: 'node a.js',
      directory: '',
      scale: 1,
      exclusive: false,
      routed: true,
      startTimeoutSeconds: 60,
      stopTimeoutSeconds: 10,
    },
  ],
  crons: [],
  env: {},
  hostnames: [],
  healthcheck: { path: null, contains: null, intervalSeconds: 5, timeoutSeconds: 2, failureThreshold: 3 },
  restart: { policy: 'on-failure', max: 5 },
  limits: { memoryBytes: null, cpu: null, processes: null },
  placement: { requires: {}, spread: null },
  dependsOn: [],
  deploy: { strategy: 'rolling', maxSurge: 1, maxUnavailable: 0, healthyDeadlineSeconds: 120 },
  ports: [],
  volumes: [],
  addons: [],
};
const web = spec.processes[0]!;

const rows: Record<string, { after: Partial<AppSpec>; impact: string; fields: string[] }> = {
  'the same spec changes nothing': { after: {}, impact: 'none', fields: [] },
  'another scale is done in place': {
    after: { processes: [{ ...web, scale: 3 }] },
    impact: 'in-place',
    fields: ['processes.web.scale'],
  },
  'another command replaces the instances': {
    after: { processes: [{ ...web, command: 'node b.js' }] },
    impact: 'restart',
    fields: ['processes.web.command'],
  },
  'another time of a scheduled command is done in place': {
    after: {
      crons: [
        {
          name: 'tidy',
          command: './tidy',
          schedule: {
            expression: '@daily',
            timeZone: 'UTC',
            overlap: 'forbid',
            catchUp: { kind: 'latest' },
          },
          timeoutSeconds: 3600,
          attempts: 1,
        },
      ],
    },
    impact: 'in-place',
    fields: ['crons.tidy'],
  },
  'another variable replaces the instances': {
    after: { env: { A: { kind: 'literal', value: '1' } } },
    impact: 'restart',
    fields: ['env.A'],
  },
  'another source is built anew': {
    after: { source: { kind: 'uploaded', digest: 'sha256:bb' }, hostnames: ['a.example'] },
    impact: 'rebuild',
    fields: ['source.digest', 'hostnames'],
  },
  'a process type that goes replaces nothing else, but is a restart': {
    after: { processes: [] },
    impact: 'restart',
    fields: ['processes.web'],
  },
};

for (const [name, row] of Object.entries(rows)) {
  test(name, t => {
    const result = classify(spec, { ...spec, ...row.after });
    t.is(result.impact, row.impact as never);
    t.deepEqual(
      result.differences.map(difference => difference.field),
      row.fields,
    );
  });
}

test('a new app is built', t => {
  t.is(classify(null, spec).impact, 'rebuild');
});
