import test from 'ava';
import type { ReleaseRecord } from '../../src/model/records.ts';
import { goneBackTo, releaseBefore } from '../../src/reconcile/rollback.ts';
import { appSpec, processSpec } from '../support/nouns.ts';

const release = (number: number, replaces?: number): ReleaseRecord => ({
  v: 1,
  app: 'blog',
  release: number,
  spec: appSpec(),
  artifact: null,
  ...(replaces === undefined ? {} : { replaces }),
  at: '2026-01-01T00:00:00.000Z',
});

const rows: [title: string, at: number, releases: ReleaseRecord[], before: number | null][] = [
  ['the first release has none before it', 1, [release(1)], null],
  ['the one it took the place of', 3, [release(1), release(2, 1), release(3, 2)], 2],
  ['not one that was given up in between', 4, [release(1), release(2, 1), release(3, 2), release(4, 2)], 2],
  ['where that is not known, the number below', 3, [release(1), release(2), release(3)], 2],
  ['where that is gone, the number below', 4, [release(1), release(3, 1), release(4, 2)], 3],
  ['never a later one', 1, [release(1), release(2, 1)], null],
];

for (const [title, at, releases, before] of rows) {
  test(title, t => {
    t.is(releaseBefore(at, releases)?.release ?? null, before);
    t.is(releaseBefore(at, releases.toReversed())?.release ?? null, before);
  });
}

test('code, commands, variables, limits and checks go back; scale, host names, placement and strategy stay', t => {
  const old = appSpec({
    processes: [processSpec({ scale: 1, command: 'old' }), processSpec({ type: 'mailer', scale: 2 })],
    env: { A: { kind: 'literal', value: 'old' } },
    hostnames: ['old.example.com'],
    healthcheck: { ...appSpec().healthcheck, path: '/old' },
  });
  const now = appSpec({
    processes: [processSpec({ scale: 5, command: 'new' })],
    env: {},
    hostnames: ['new.example.com'],
    placement: { requires: { zone: 'eu' }, spread: null },
    deploy: { ...appSpec().deploy, maxSurge: 3 },
  });
  const back = goneBackTo(old, now);
  t.deepEqual(back, {
    ...old,
    hostnames: now.hostnames,
    placement: now.placement,
    deploy: now.deploy,
    processes: [
      { ...old.processes[0]!, scale: 5 },
      { ...old.processes[1]!, scale: 2 },
    ],
  });
});
