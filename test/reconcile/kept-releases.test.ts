import test from 'ava';
import type { AppRecord, ReleaseRecord } from '../../src/model/records.ts';
import { keptReleases } from '../../src/reconcile/kept-releases.ts';
import { appRecord } from '../agent/helpers.ts';
import { appSpec } from '../support/nouns.ts';

const release = (number: number, replaces = number - 1): ReleaseRecord => ({
  v: 1,
  app: 'blog',
  release: number,
  spec: appSpec(),
  artifact: null,
  replaces,
  at: '2026-01-01T00:00:00.000Z',
});
const upTo = (count: number): ReleaseRecord[] =>
  Array.from({ length: count }, (_, index) => release(index + 1));

const at = (number: number, parts: Partial<AppRecord> = {}): AppRecord =>
  appRecord(appSpec(), { release: number, ...parts });
const before = { release: 2, spec: appSpec(), artifact: null, restarts: {} };

for (const { what, record, releases = upTo(10), inUse = [], kept } of [
  { what: 'few are kept all', record: at(4), releases: upTo(4), kept: [1, 2, 3, 4] },
  { what: 'of many the newest five', record: at(10), kept: [6, 7, 8, 9, 10] },
  {
    what: 'what was gone back to, and what that took the place of',
    record: at(3),
    kept: [2, 3, 6, 7, 8, 9, 10],
  },
  {
    what: 'what a rollout goes back to, and what would be gone back to from there',
    record: at(10, { rollout: { before, stage: 'canary' } }),
    kept: [1, 2, 6, 7, 8, 9, 10],
  },
  {
    what: 'what took the place of one that is not there any more is gone back from to the one below',
    record: at(4),
    releases: upTo(10).filter(each => each.release !== 3),
    kept: [2, 4, 6, 7, 8, 9, 10],
  },
  { what: 'what is in use otherwise', record: at(10), inUse: [2, 4], kept: [2, 4, 6, 7, 8, 9, 10] },
  { what: 'of an app that is gone the newest', record: undefined, kept: [10] },
  { what: 'of an app that is gone what runs still', record: undefined, inUse: [9], kept: [9, 10] },
  { what: 'of nothing nothing', record: undefined, releases: [], kept: [] },
] as { what: string; record?: AppRecord; releases?: ReleaseRecord[]; inUse?: number[]; kept: number[] }[]) {
  test(`releases that are kept: ${what}`, t => {
    const found = keptReleases(record, releases, new Set(inUse));
    t.deepEqual(
      found.map(each => each.release),
      kept,
    );
  });
}
