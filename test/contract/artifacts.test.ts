import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { serveArtifacts } from '../../src/artifacts/serve-artifacts.ts';
import { ArtifactError, type Artifacts, type BuildNote } from '../../src/ports/artifacts.ts';
import { artifactsIn, never, spec, streamOf, tarball } from '../artifacts/helpers.ts';
import { FakeArtifacts } from '../support/fake-artifacts.ts';

/** Two nodes: this one, and another that can be asked for what it holds. */
interface World {
  artifacts: Artifacts;
  other: Artifacts;
  holder: { node: string; peer: { host: string; port: number } };
  /** Somebody who does not answer. */
  nobody: { node: string; peer: { host: string; port: number } };
}

const worlds: Record<string, (t: ExecutionContext) => Promise<World>> = {
  fake: async () => {
    const other = new FakeArtifacts();
    const artifacts = new FakeArtifacts(new Map([['other:1', other]]));
    return {
      artifacts,
      other,
      holder: { node: 'other', peer: { host: 'other', port: 1 } },
      nobody: { node: 'gone', peer: { host: 'gone', port: 1 } },
    };
  },
  real: async t => {
    const { artifacts } = await artifactsIn(t);
    const { artifacts: other } = await artifactsIn(t);
    const server = createServer(serveArtifacts(other)).listen(0, '127.0.0.1');
    await new Promise(resolve => server.once('listening', resolve));
    t.teardown(() => server.close());
    const { port } = server.address() as AddressInfo;
    const closed = createServer().listen(0, '127.0.0.1');
    await new Promise(resolve => closed.once('listening', resolve));
    const { port: closedPort } = closed.address() as AddressInfo;
    await new Promise(resolve => closed.close(resolve));
    return {
      artifacts,
      other,
      holder: { node: 'other', peer: { host: '127.0.0.1', port } },
      nobody: { node: 'gone', peer: { host: '127.0.0.1', port: closedPort } },
    };
  },
};

const archive = tarball([{ path: 'index.html', content: 'hello' }]);
const digest = `sha256:${createHash('sha256').update(archive).digest('hex')}`;
const absent = `sha256:${'0'.repeat(64)}`;

for (const [name, world] of Object.entries(worlds)) {
  test(`${name}: what was received can be listed and read again`, async t => {
    const { artifacts } = await world(t);
    t.deepEqual(await artifacts.list(), []);
    t.false(await artifacts.has(digest));
    const received = await artifacts.receive(streamOf(archive.subarray(0, 9), archive.subarray(9)), digest);
    t.deepEqual(received, { digest, bytes: archive.length });
    t.true(await artifacts.has(digest));
    t.deepEqual(await artifacts.list(), [received]);
    const { bytes, stream } = await artifacts.read(digest);
    t.is(bytes, archive.length);
    t.deepEqual(await all(stream), archive);
  });

  test(`${name}: whoever wants to know hears of what comes and goes`, async t => {
    const { artifacts, other, holder } = await world(t);
    let heard = 0;
    const stop = artifacts.onChange(() => heard++);
    await artifacts.receive(streamOf(archive), null);
    t.is(heard, 1, 'received');
    await artifacts.collect({ digests: [], releases: [] });
    t.is(heard, 2, 'removed');
    await other.receive(streamOf(archive), null);
    await artifacts.fetch(digest, [holder], never);
    t.is(heard, 3, 'fetched');
    stop();
    await artifacts.collect({ digests: [], releases: [] });
    t.is(heard, 3);
  });

  test(`${name}: what was built before is known until it is gone`, async t => {
    const { artifacts } = await world(t);
    const { digest: source } = await artifacts.receive(streamOf(archive), null);
    const app = spec({ source: { kind: 'uploaded', digest: source } });
    t.is(await artifacts.builtBefore(app, source), null);
    const built = await artifacts.build(app, () => undefined, never);
    t.deepEqual(await artifacts.builtBefore(app, source), built);
    await artifacts.collect({ digests: [], releases: [] });
    t.is(await artifacts.builtBefore(app, source), null);
  });

  test(`${name}: receiving the same twice, even at once, is no error`, async t => {
    const { artifacts } = await world(t);
    await Promise.all([1, 2, 3].map(() => artifacts.receive(streamOf(archive), null)));
    t.deepEqual(await artifacts.list(), [{ digest, bytes: archive.length }]);
  });

  test(`${name}: other bytes than announced are refused and not kept`, async t => {
    const { artifacts } = await world(t);
    await t.throwsAsync(artifacts.receive(streamOf(archive), absent), { instanceOf: ArtifactError });
    t.deepEqual(await artifacts.list(), []);
  });

  test(`${name}: what is no archive is refused and not kept`, async t => {
    const { artifacts } = await world(t);
    const error = await t.throwsAsync(artifacts.receive(streamOf(Buffer.from('hello')), null), {
      instanceOf: ArtifactError,
      message: /not a whole gzipped tar file/,
    });
    t.false(error.retryable);
    t.deepEqual(await artifacts.list(), []);
  });

  test(`${name}: reading and unpacking what is not here is an error`, async t => {
    const { artifacts } = await world(t);
    await t.throwsAsync(artifacts.read(absent), { instanceOf: ArtifactError, message: /not on this node/ });
    await t.throwsAsync(artifacts.unpack(absent, 'shop', 1), { instanceOf: ArtifactError });
  });

  test(`${name}: an artifact comes from the first peer that has it`, async t => {
    const { artifacts, other, holder, nobody } = await world(t);
    await other.receive(streamOf(archive), null);
    await artifacts.fetch(digest, [nobody, holder], never);
    t.true(await artifacts.has(digest));
    // And now it is here: nobody need be asked.
    await artifacts.fetch(digest, [nobody], never);
  });

  test(`${name}: when no peer has it, each one is named`, async t => {
    const { artifacts, holder, nobody } = await world(t);
    const error = await t.throwsAsync(artifacts.fetch(absent, [nobody, holder], never), {
      instanceOf: ArtifactError,
      message: /gone \(.*other \(.*404/,
    });
    t.true(error.retryable);
    await t.throwsAsync(artifacts.fetch(absent, [], never), { message: /no node promises to hold it/ });
  });

  test(`${name}: an aborted fetch ends with the signal's reason`, async t => {
    const { artifacts, holder } = await world(t);
    await t.throwsAsync(artifacts.fetch(digest, [holder], AbortSignal.abort(new Error('enough'))), {
      message: 'enough',
    });
  });

  test(`${name}: a source tree that needs no build is its own artifact, for any platform`, async t => {
    const { artifacts } = await world(t);
    await artifacts.receive(streamOf(archive), null);
    const app = spec({ source: { kind: 'uploaded', digest } });
    t.deepEqual(await artifacts.build(app, () => undefined, never), {
      digest,
      bytes: archive.length,
      platform: null,
    });
  });

  test(`${name}: an app without source, or with one on another machine, cannot be built`, async t => {
    const { artifacts } = await world(t);
    const options = { instanceOf: ArtifactError };
    await t.throwsAsync(
      artifacts.build(spec(), () => undefined, never),
      options,
    );
    const elsewhere = spec({ source: { kind: 'path', path: './shop' } });
    await t.throwsAsync(
      artifacts.build(elsewhere, () => undefined, never),
      { ...options, message: /another machine/ },
    );
    const missing = spec({ source: { kind: 'uploaded', digest: absent } });
    await t.throwsAsync(
      artifacts.build(missing, () => undefined, never),
      options,
    );
  });

  test(`${name}: each release has a directory of its own, the same each time`, async t => {
    const { artifacts } = await world(t);
    await artifacts.receive(streamOf(archive), null);
    const first = await artifacts.unpack(digest, 'shop', 1);
    const [again, alsoAgain] = await Promise.all([
      artifacts.unpack(digest, 'shop', 1),
      artifacts.unpack(digest, 'shop', 1),
    ]);
    t.deepEqual(again, first);
    t.deepEqual(alsoAgain, first);
    t.true(first.directory.startsWith('/'));
    t.not((await artifacts.unpack(digest, 'shop', 2)).directory, first.directory);
    t.not((await artifacts.unpack(digest, 'blog', 1)).directory, first.directory);
  });

  test(`${name}: all releases of an app share one directory of data, which no other app has`, async t => {
    const { artifacts } = await world(t);
    await artifacts.receive(streamOf(archive), null);
    const { dataDirectory } = await artifacts.unpack(digest, 'shop', 1);
    t.true(dataDirectory.startsWith('/'));
    t.is((await artifacts.unpack(digest, 'shop', 2)).dataDirectory, dataDirectory);
    t.not((await artifacts.unpack(digest, 'blog', 1)).dataDirectory, dataDirectory);
  });

  test(`${name}: an uploaded source is obtained when it is here, and looked into`, async t => {
    const { artifacts } = await world(t);
    await artifacts.receive(streamOf(archive), null);
    const uploaded = spec({ source: { kind: 'uploaded', digest } });
    t.is(await artifacts.obtain(uploaded, () => undefined, never), digest);
    t.is(typeof (await artifacts.inspect(digest)).packageStart, 'boolean');
    const missing = spec({ source: { kind: 'uploaded', digest: absent } });
    await t.throwsAsync(
      artifacts.obtain(missing, () => undefined, never),
      { instanceOf: ArtifactError },
    );
    await t.throwsAsync(artifacts.inspect(absent), { instanceOf: ArtifactError });
  });

  test(`${name}: hooks run in order until one fails, with its output`, async t => {
    const { artifacts } = await world(t);
    await artifacts.receive(streamOf(archive), null);
    const { directory } = await artifacts.unpack(digest, 'shop', 1);
    const notes: BuildNote[] = [];
    const place = { directory, env: {} };
    await artifacts.runHooks(['echo one', 'true'], place, note => notes.push(note), never);
    t.deepEqual(
      notes.map(note => `${note.step}: ${note.text}`),
      ['before-run: $ echo one', 'before-run: one', 'before-run: $ true'],
    );
    await t.throwsAsync(
      artifacts.runHooks(['exit 3', 'echo never'], place, note => notes.push(note), never),
      { instanceOf: ArtifactError, message: /`exit 3` failed with exit code 3/ },
    );
    t.false(notes.some(note => note.text === 'never'));
  });

  test(`${name}: what is not in use is collected, what is stays`, async t => {
    const { artifacts } = await world(t);
    const kept = await artifacts.receive(streamOf(archive), null);
    const old = await artifacts.receive(streamOf(tarball([{ path: 'old.html', content: 'old' }])), null);
    await artifacts.unpack(old.digest, 'shop', 1);
    await artifacts.unpack(kept.digest, 'shop', 2);
    const inUse = { digests: [kept.digest], releases: [{ app: 'shop', release: 2 }] };
    t.deepEqual(await artifacts.collect(inUse), { removed: 2 });
    t.deepEqual(await artifacts.list(), [kept]);
    t.deepEqual(await artifacts.collect(inUse), { removed: 0 });
    await t.throwsAsync(artifacts.unpack(old.digest, 'shop', 1), { instanceOf: ArtifactError });
  });
}

async function all(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}
