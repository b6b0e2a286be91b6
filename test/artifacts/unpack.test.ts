import { existsSync } from 'node:fs';
import { readFile, readdir, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import test from 'ava';
import { unpackArchive } from '../../src/artifacts/unpack.ts';
import { ArtifactError } from '../../src/ports/artifacts.ts';
import { streamOf, tarball, temporaryDirectory, type TarEntry } from './helpers.ts';

const limits = { maxBytes: 100_000, maxEntries: 20 };

const attacks: { name: string; entries: TarEntry[]; message: RegExp }[] = [
  { name: 'a path with ..', entries: [{ path: '../evil' }], message: /\.\.\/evil leads out/ },
  { name: 'a path with .. in the middle', entries: [{ path: 'a/../../evil' }], message: /leads out/ },
  { name: 'an absolute path', entries: [{ path: '/tmp/evil' }], message: /absolute path/ },
  {
    name: 'a link out',
    entries: [{ path: 'x', type: 'SymbolicLink', target: '../..' }],
    message: /x is a link out of it/,
  },
  {
    name: 'an absolute link',
    entries: [{ path: 'x', type: 'SymbolicLink', target: '/etc' }],
    message: /x is a link out of it, to \/etc/,
  },
  {
    name: 'a file written through a link',
    entries: [
      { path: 'x', type: 'SymbolicLink', target: 'y' },
      { path: 'x/evil', content: 'e' },
    ],
    message: /x\/evil lies inside x, which is a symlink/,
  },
  {
    name: 'a file and then a link in its place',
    entries: [
      { path: 'x/evil', content: 'e' },
      { path: 'x', type: 'SymbolicLink', target: 'y' },
    ],
    message: /x is in it twice/,
  },
  {
    name: 'links that only together lead out',
    entries: [
      { path: 'deep/er/up', type: 'SymbolicLink', target: '../..' },
      { path: 'x', type: 'SymbolicLink', target: 'deep/er/up/../etc' },
    ],
    message: /x is a link out of it/,
  },
  {
    name: 'a hard link out',
    entries: [{ path: 'x', type: 'Link', target: '/etc/passwd' }],
    message: /absolute path/,
  },
  {
    name: 'a hard link up',
    entries: [{ path: 'x', type: 'Link', target: '../../etc/passwd' }],
    message: /leads out/,
  },
  {
    name: 'a hard link to a link',
    entries: [
      { path: 'a', type: 'SymbolicLink', target: 'b' },
      { path: 'x', type: 'Link', target: 'a' },
    ],
    message: /no file of the archive before it/,
  },
  { name: 'a device', entries: [{ path: 'x', type: 'CharacterDevice' }], message: /x is a CharacterDevice/ },
  { name: 'a pipe', entries: [{ path: 'x', type: 'FIFO' }], message: /x is a FIFO/ },
  {
    name: 'too much content',
    entries: [{ path: 'big', content: 'x'.repeat(100_001) }],
    message: /unpacks to more than 100000 bytes/,
  },
  {
    name: 'too many entries',
    entries: Array.from({ length: 21 }, (_, index) => ({ path: `f${index}` })),
    message: /more than 20 entries/,
  },
];

for (const { name, entries, message } of attacks) {
  test(`an archive with ${name} is refused, and nothing of it stays`, async t => {
    const parent = await temporaryDirectory(t);
    const error = await t.throwsAsync(
      unpackArchive(
        streamOf(tarball([{ path: 'innocent', content: 'i' }, ...entries])),
        join(parent, 'app'),
        {
          limits,
        },
      ),
      { instanceOf: ArtifactError, message },
    );
    t.false(error.retryable);
    t.deepEqual(await readdir(parent), []);
  });
}

const broken: { name: string; bytes: Buffer; message: RegExp }[] = [
  { name: 'text', bytes: Buffer.from('hello, this is not an archive'), message: /not a whole gzipped tar/ },
  { name: 'nothing', bytes: Buffer.alloc(0), message: /not a whole gzipped tar/ },
  { name: 'compressed text', bytes: gzipSync('hello'.repeat(300)), message: /not a whole gzipped tar/ },
  {
    name: 'half an archive',
    bytes: gzipSync(Buffer.from(tarWithBody()).subarray(0, 700)),
    message: /not a whole gzipped tar/,
  },
  {
    name: 'half a gzip',
    bytes: tarball([{ path: 'a', content: randomText(5000) }]).subarray(0, 900),
    message: /not a whole gzipped tar/,
  },
  {
    name: 'an archive compressed twice',
    bytes: gzipSync(tarball([{ path: 'a' }])),
    message: /compressed twice/,
  },
  {
    name: 'bytes after the end',
    bytes: Buffer.concat([tarball([{ path: 'a' }]), Buffer.from('and more')]),
    message: /bytes after its end|not a whole gzipped tar/,
  },
  {
    name: 'endless padding',
    bytes: gzipSync(Buffer.alloc(5_000_000)),
    message: /unpacks to more than/,
  },
];

for (const { name, bytes, message } of broken) {
  test(`${name} is no archive`, async t => {
    const parent = await temporaryDirectory(t);
    await t.throwsAsync(unpackArchive(streamOf(bytes), join(parent, 'app'), { limits }), {
      instanceOf: ArtifactError,
      message,
    });
    t.deepEqual(await readdir(parent), []);
  });
}

test('files, links and empty directories come out as they went in, without setuid bits', async t => {
  const parent = await temporaryDirectory(t);
  const archive = tarball([
    { path: './', type: 'Directory' },
    { path: './empty/', type: 'Directory' },
    { path: './bin/run', content: '#!/bin/sh\n', mode: 0o6777 },
    { path: 'plain.txt', content: 'hello', mode: 0o666 },
    { path: 'zero', content: '' },
    { path: 'current', type: 'SymbolicLink', target: 'bin' },
    { path: 'again', type: 'Link', target: 'plain.txt' },
  ]);
  const app = join(parent, 'app');
  // One byte at a time: nothing may depend on where the chunks end.
  await unpackArchive(streamOf(...[...archive].map(byte => Buffer.from([byte]))), app, { limits });
  t.deepEqual((await readdir(app)).toSorted(), ['again', 'bin', 'current', 'empty', 'plain.txt', 'zero']);
  t.is((await stat(join(app, 'bin/run'))).mode & 0o7777, 0o755);
  t.is((await stat(join(app, 'plain.txt'))).mode & 0o7777, 0o644);
  t.is(await readFile(join(app, 'again'), 'utf8'), 'hello');
  t.is(await readlink(join(app, 'current')), 'bin');
});

test('a copy whose bytes are not those of its digest is refused', async t => {
  const parent = await temporaryDirectory(t);
  const digest = `sha256:${'0'.repeat(64)}`;
  await t.throwsAsync(
    unpackArchive(streamOf(tarball([{ path: 'a' }])), join(parent, 'app'), { limits, digest }),
    { instanceOf: ArtifactError, message: /damaged/ },
  );
  t.false(existsSync(join(parent, 'app')));
});

test('an aborted unpacking leaves nothing', async t => {
  const parent = await temporaryDirectory(t);
  const controller = new AbortController();
  async function* abortedMidway() {
    const archive = tarball([{ path: 'a', content: randomText(5000) }]);
    yield archive.subarray(0, 600);
    controller.abort(new Error('enough'));
    yield archive.subarray(600);
  }
  await t.throwsAsync(
    unpackArchive(abortedMidway(), join(parent, 'app'), { limits, signal: controller.signal }),
    { message: 'enough' },
  );
  t.deepEqual(await readdir(parent), []);
});

test('a source that fails midway fails the unpacking', async t => {
  const parent = await temporaryDirectory(t);
  async function* failing() {
    yield tarball([{ path: 'a', content: 'x' }]).subarray(0, 50);
    throw new Error('disk on fire');
  }
  await t.throwsAsync(unpackArchive(failing(), join(parent, 'app'), { limits }), {
    instanceOf: ArtifactError,
    message: /disk on fire/,
  });
});

function tarWithBody(): Buffer {
  const block = Buffer.alloc(512);
  block.write('a');
  return Buffer.concat([block, Buffer.alloc(2048, 'x')]);
}

/** Does not compress well. */
function randomText(length: number): string {
  let state = 7;
  return Array.from({ length }, () => {
    state = (state * 1103515245 + 12345) & 0x7fffffff;
    return String.fromCharCode(33 + (state % 90));
  }).join('');
}
