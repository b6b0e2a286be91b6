import test from 'ava';
import { Supplies } from '../../src/agent/supplies.ts';
import { ArtifactError } from '../../src/ports/artifacts.ts';
import { FakeArtifacts } from '../support/fake-artifacts.ts';
import { appSpec, runningPromise } from '../support/nouns.ts';
import { sessionRecord } from '../support/store-worlds.ts';
import { member } from './helpers.ts';

async function supplying() {
  const one = await member();
  const network = new Map<string, FakeArtifacts>();
  const artifacts = new FakeArtifacts(network);
  const other = new FakeArtifacts(network);
  network.set('node-2:7400', other);
  const { etcd, clock } = one;
  etcd.put(
    'sessions',
    'node-2/i',
    sessionRecord({ node: 'node-2', incarnation: 'i', peer: { host: 'node-2', port: 7400 } }),
  );
  const promise = async (node: string, digest: string): Promise<void> => {
    etcd.put('promises', `${node}/holding:${digest}`, {
      v: 1,
      promise: {
        ...runningPromise({}, node),
        name: `holding:${digest}`,
        body: { kind: 'holding', artifact: digest, bytes: 1 },
      },
    });
    await clock.settle();
  };
  return { ...one, supplies: new Supplies({ ...one, artifacts }), artifacts, other, promise };
}

const { signal } = new AbortController();
const quiet = (): void => undefined;

test('what is here, or promised by a node that can be asked, can be had', async t => {
  const { supplies, artifacts, other, promise } = await supplying();
  const elsewhere = other.hold('elsewhere');
  t.true(await supplies.canBeHad(artifacts.hold('here')));
  t.false(await supplies.canBeHad(elsewhere));
  await promise('node-2', elsewhere);
  t.true(await supplies.canBeHad(elsewhere));
  await promise('node-9', 'sha256:x');
  t.false(await supplies.canBeHad('sha256:x'), 'whoever promises it has no address');
});

test('bringing it fetches it once, and fails in words when nobody has it', async t => {
  const { supplies, artifacts, other, promise } = await supplying();
  const digest = other.hold('elsewhere');
  await promise('node-2', digest);
  await supplies.bring(digest, signal);
  await supplies.bring(digest, signal);
  t.deepEqual(artifacts.fetched, [digest]);
  await t.throwsAsync(supplies.bring('sha256:x', signal), {
    instanceOf: ArtifactError,
    message: /no node promises to hold it/,
  });
});

test('it waits until the others can know that this node holds something, and not for ever', async t => {
  const { supplies, clock, promise } = await supplying();
  let known = false;
  const waiting = supplies.promised('sha256:1', signal).then(() => (known = true));
  await clock.advance(1000);
  t.false(known);
  await promise('node-1', 'sha256:1');
  await waiting;
  await supplies.promised('sha256:1', signal);
  const inVain = supplies.promised('sha256:2', signal);
  await clock.advance(5000);
  await inVain;
  t.pass();
});

test('a source that is known, and that somebody has, is not fetched from outside again', async t => {
  const { supplies, artifacts } = await supplying();
  const spec = appSpec({ source: { kind: 'git', url: 'https://x', ref: 'main' } });
  const first = await supplies.source(spec, undefined, quiet, signal);
  t.true(artifacts.stored.has(first));
  t.is(await supplies.source(spec, first, quiet, signal), first);
  const uploaded = artifacts.hold('uploaded');
  t.is(
    await supplies.source(appSpec({ source: { kind: 'uploaded', digest: uploaded } }), first, quiet, signal),
    uploaded,
  );
});

test('a spec without processes gets the one its source suggests, or is refused', async t => {
  const { supplies, artifacts } = await supplying();
  const digest = artifacts.hold('source');
  artifacts.facts = { packageStart: true, files: ['package.json'] };
  const completed = await supplies.complete(appSpec({ processes: [] }), digest);
  t.deepEqual(
    completed.processes.map(({ type }) => type),
    ['web'],
  );
  const whole = appSpec();
  t.is(await supplies.complete(whole, digest), whole);
  artifacts.facts = { packageStart: false, files: ['README'] };
  await t.throwsAsync(supplies.complete(appSpec({ processes: [] }), digest), {
    instanceOf: ArtifactError,
    message: /there is nothing to run/,
  });
});
