import test from 'ava';
import { tokenOf, versionOfRelease, type AppRecord, type OwnerRecord } from '../../src/model/records.ts';
import { appSpec } from '../support/nouns.ts';

const app: AppRecord = {
  v: 1,
  app: 'blog',
  spec: appSpec(),
  release: 4,
  generation: 9,
  restarts: { web: 2 },
  secrets: {},
  artifact: null,
  appliedAt: '2026-01-01T00:00:00.000Z',
  removing: false,
};

const owner: OwnerRecord = {
  v: 1,
  subject: 'instance/blog/web/0',
  node: 'node-1',
  incarnation: 'a1',
  ttlSeconds: 10,
  holder: 'agent',
  operation: 'op-1',
  mayStillRun: [],
  released: null,
  token: null,
};

test('a version is the release, and how often a restart of that process type was asked for', t => {
  t.is(versionOfRelease(app, 'web'), '4.2');
  t.is(versionOfRelease(app, 'mailer'), '4');
});

test('the token is the revision at which the subject was taken, whatever is written to the key later', t => {
  t.is(tokenOf({ value: owner, revision: 41n }), '41');
  t.is(tokenOf({ value: { ...owner, token: '41' }, revision: 57n }), '41');
});
