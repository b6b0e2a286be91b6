import test from 'ava';
import { standingOf } from '../../../src/agent/deploy/standing.ts';
import type { AppRecord } from '../../../src/model/records.ts';
import { releaseState } from '../../../src/model/rollout.ts';
import { appRecord } from '../helpers.ts';

const RELEASE = 3;
const record = (parts: Partial<AppRecord> = {}): AppRecord => ({
  ...appRecord(),
  release: RELEASE,
  ...parts,
});
const before = releaseState(record({ release: 2 }));
const givenUp = { release: RELEASE, to: 2, reason: 'blog/web/0: it ended', at: '2026-01-01T00:00:00.000Z' };
const rollout = (stage: 'canary' | 'beside' | 'replacing') => record({ rollout: { before, stage } });

for (const { title, now, sinceMs = 0, kind, words } of [
  { title: 'the app is gone', now: undefined, kind: 'failed', words: /the app was removed/ },
  {
    title: 'the app is to be removed',
    now: record({ removing: true }),
    kind: 'failed',
    words: /was removed/,
  },
  {
    title: 'it was given up, and what ran before takes its place again',
    now: record({ release: 2, givenUp, rollout: { before, stage: 'replacing', final: true } }),
    kind: 'failed',
    words: /release 3 was given up: blog\/web\/0: it ended/,
  },
  {
    title: 'an operator went back',
    now: record({ release: 2 }),
    kind: 'failed',
    words: /release 3 is not wanted any more: 2 is/,
  },
  {
    title: 'a newer one took its place',
    now: record({ release: 4 }),
    kind: 'over',
    words: /release 4 of "blog" took/,
  },
  {
    title: 'it is tried',
    now: rollout('canary'),
    kind: 'goes-on',
    words: /a share .* tries release 3.*: 1 ready/,
  },
  { title: 'it stands beside', now: rollout('beside'), kind: 'goes-on', words: /stands beside 2: 1 ready/ },
  {
    title: 'it is not given up by whoever only watches, however long it takes',
    now: rollout('replacing'),
    sinceMs: 86_400_000,
    kind: 'goes-on',
    words: /takes the place of 2/,
  },
  { title: 'it runs everywhere', now: record(), kind: 'over', words: /release 3 of "blog" is settled/ },
  {
    title: 'an operator chose it: nobody gives it up',
    now: record({ rollout: { before, stage: 'replacing', final: true } }),
    kind: 'over',
    words: /settled/,
  },
  {
    title: 'the first one starts',
    now: record({ unproven: true }),
    kind: 'goes-on',
    words: /starts: 1 ready/,
  },
  {
    title: 'the first one does not get on for its healthy-deadline',
    now: record({ unproven: true }),
    sinceMs: 120_000,
    kind: 'failed',
    words: /not healthy within 120 s, with 1 instance\(s\) ready: blog\/web\/0: no database$/,
  },
] as const) {
  test(`a release that was made wanted ${kind === 'goes-on' ? 'goes on' : kind === 'over' ? 'has come to its end' : 'has failed'} when ${title}`, t => {
    const standing = standingOf(now, RELEASE, 1, sinceMs, 'blog/web/0: no database');
    t.is(standing.kind, kind);
    t.regex(standing.kind === 'failed' ? standing.reason : standing.message, words);
  });
}
