import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { ContentStore } from '../../src/artifacts/cas.ts';
import { ArtifactError } from '../../src/ports/artifacts.ts';
import { streamOf, temporaryDirectory } from './helpers.ts';

const hello = 'sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824';

test('files are named by their digest, and nothing else is left in the folder', async t => {
  const directory = join(await temporaryDirectory(t), 'artifacts');
  const store = new ContentStore(directory, 1000, 'run');
  t.deepEqual(await store.put(streamOf(Buffer.from('hello')), null), { digest: hello, bytes: 5 });
  t.deepEqual(await readdir(directory), [`${hello.slice(7)}.tar.gz`]);
  t.true(await store.has(hello));
  await store.remove(hello);
  t.false(await store.has(hello));
});

test('what is too large, has other bytes, is not let pass, or breaks off is not kept', async t => {
  const directory = await temporaryDirectory(t);
  const store = new ContentStore(directory, 4, 'run');
  await t.throwsAsync(store.put(streamOf(Buffer.from('hello')), null), {
    instanceOf: ArtifactError,
    message: /larger than the limit of 4 bytes/,
  });
  await t.throwsAsync(store.put(streamOf(Buffer.from('hell')), hello), { message: /expected sha256:2cf2/ });
  await t.throwsAsync(
    store.put(streamOf(Buffer.from('hell')), null, () => Promise.reject(new Error('not let pass'))),
    { message: 'not let pass' },
  );
  async function* breaking() {
    yield Buffer.from('he');
    throw new Error('cut');
  }
  await t.throwsAsync(store.put(breaking(), null), { message: 'cut' });
  t.deepEqual(await readdir(directory), []);
});

test('a damaged copy is replaced when the whole one comes again', async t => {
  const directory = await temporaryDirectory(t);
  const store = new ContentStore(directory, 1000, 'run');
  await writeFile(join(directory, `${hello.slice(7)}.tar.gz`), 'hel');
  await store.put(streamOf(Buffer.from('hello')), hello);
  t.is((await store.read(hello)).bytes, 5);
});

test('a file is taken over once, and again without harm', async t => {
  const directory = await temporaryDirectory(t);
  const store = new ContentStore(join(directory, 'artifacts'), 1000, 'run');
  const file = join(directory, 'packed');
  await writeFile(file, 'hello');
  t.deepEqual(await store.adopt(file, hello), { digest: hello, bytes: 5 });
  t.deepEqual(await store.adopt(file, hello), { digest: hello, bytes: 5 });
});

test('leftovers of an earlier run go, those being written now and strange files stay', async t => {
  const directory = await temporaryDirectory(t);
  const store = new ContentStore(directory, 1000, 'now');
  for (const name of ['.incoming-before-1', '.incoming-now-1', 'README'])
    await writeFile(join(directory, name), '');
  await store.removeLeftovers();
  t.deepEqual((await readdir(directory)).toSorted(), ['.incoming-now-1', 'README']);
  t.deepEqual(await store.list(), []);
});

for (const wrong of ['', 'sha256:abc', '../../etc/passwd', `sha256:${'A'.repeat(64)}`]) {
  test(`"${wrong}" is never looked for`, async t => {
    const directory = await temporaryDirectory(t);
    await mkdir(join(directory, 'artifacts'));
    const store = new ContentStore(join(directory, 'artifacts'), 1000, 'run');
    t.false(await store.has(wrong));
    await t.throwsAsync(store.read(wrong), { instanceOf: ArtifactError, message: /not on this node/ });
  });
}
