import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { link, mkdir, readdir, symlink, utimes } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test from 'ava';
import { packDirectory, PackError, packTree, readAppFiles, sourceFacts } from '../../src/artifacts/pack.ts';
import { temporaryDirectory, tree } from './helpers.ts';

async function packedNames(directory: string, ignore: string[] = []): Promise<string[]> {
  const packed = await packDirectory(directory, { ignore });
  const names = namesIn(packed.filePath);
  await packed.remove();
  return names;
}

function namesIn(archive: string): string[] {
  return execFileSync('tar', ['tzf', archive], { encoding: 'utf8' }).trim().split('\n');
}

test('the same content has the same digest, whatever its times, owner bits and place', async t => {
  const files = { 'b.txt': 'two', 'a/c.txt': 'one', 'run.sh': 'exit' };
  const first = await tree(t, files, { 'run.sh': 0o755 });
  const second = await tree(t, files, { 'run.sh': 0o700, 'b.txt': 0o600 });
  await utimes(join(second, 'b.txt'), 5, 5);
  await link(join(second, 'b.txt'), join(await temporaryDirectory(t), 'elsewhere'));
  const [one, two] = [
    await packDirectory(first, { ignore: [] }),
    await packDirectory(second, { ignore: [] }),
  ];
  t.teardown(() => Promise.all([one.remove(), two.remove()]));
  t.regex(one.digest, /^sha256:[0-9a-f]{64}$/);
  t.is(one.digest, two.digest);
});

test('another content, name or executable bit has another digest', async t => {
  const digests = await Promise.all(
    [
      await tree(t, { a: 'x' }),
      await tree(t, { a: 'y' }),
      await tree(t, { b: 'x' }),
      await tree(t, { a: 'x' }, { a: 0o755 }),
    ].map(async directory => {
      const packed = await packDirectory(directory, { ignore: [] });
      await packed.remove();
      return packed.digest;
    }),
  );
  t.is(new Set(digests).size, 4);
});

test('what a build makes again is left out, wherever it is', async t => {
  const directory = await tree(t, {
    'app.js': '',
    '.git/config': '',
    'node_modules/x/index.js': '',
    'sub/venv/bin/python': '',
    'sub/__pycache__/a.pyc': '',
    'sub/kept.py': '',
    '.hop3/state': '',
  });
  t.deepEqual(await packedNames(directory), ['app.js', 'sub/', 'sub/kept.py']);
});

test('.gitignore is honoured, and build.ignore after it', async t => {
  const directory = await tree(t, {
    '.gitignore': '*.log\ndist/\n',
    'a.log': '',
    'keep.log': '',
    'dist/x': '',
    'secret.txt': '',
  });
  t.deepEqual(await packedNames(directory, ['secret.*', '!keep.log']), ['.gitignore', 'keep.log']);
});

test('names that mean something to tar or to the shell are plain names', async t => {
  const directory = await tree(t, { '@list': 'a', '-rf': 'b', 'with space': 'c', ünïcode: 'd' });
  t.is((await packedNames(directory)).length, 4);
});

test('paths longer than the old tar format allows are kept', async t => {
  const long = `${'d'.repeat(90)}/${'e'.repeat(90)}/${'f'.repeat(200)}.txt`;
  t.true((await packedNames(await tree(t, { [long]: 'x' }))).includes(long));
});

test('a link inside is kept, also an absolute one', async t => {
  const directory = await tree(t, { 'real/file': 'x' });
  await symlink('real/file', join(directory, 'relative'));
  await symlink(join(directory, 'real'), join(directory, 'absolute'));
  const packed = await packDirectory(directory, { ignore: [] });
  t.teardown(() => packed.remove());
  const listing = execFileSync('tar', ['tvzf', packed.filePath], { encoding: 'utf8' });
  t.regex(listing, /absolute -> real\n/);
  t.regex(listing, /relative -> real\/file\n/);
});

test('a link out is refused by name, and may be left out', async t => {
  const directory = await tree(t, { 'app.js': '' });
  await symlink('/etc/passwd', join(directory, 'users'));
  await t.throwsAsync(packDirectory(directory, { ignore: [] }), {
    instanceOf: PackError,
    message: /users is a link out of the directory, to \/etc\/passwd.*build\.ignore/,
  });
  t.deepEqual(await packedNames(directory, ['users']), ['app.js']);
});

test('too much is refused, naming what is large', async t => {
  const directory = await tree(t, { 'small.txt': 'x', 'data/dump.sql': 'y'.repeat(3 * 1024 * 1024) });
  await t.throwsAsync(packDirectory(directory, { ignore: [], maxBytes: 1024 * 1024 }), {
    instanceOf: PackError,
    message: /more than the limit of 1 MiB.*data\/dump\.sql \(3 MiB\)/,
  });
});

test('a socket is left out', async t => {
  const directory = await tree(t, { 'app.js': '' });
  const server = createServer().listen(join(directory, 'app.sock'));
  await new Promise(resolve => server.once('listening', resolve));
  t.teardown(() => server.close());
  t.deepEqual(await packedNames(directory), ['app.js']);
});

test('what goes while a directory is read is not missed', async t => {
  const directory = await tree(t, { 'a.js': '', 'b.swp': '', 'c.swp': '' });
  await symlink('/outside', join(directory, 'link'));
  const go = (name: string): void => rmSync(join(directory, name), { force: true });
  const packed = await packTree(directory, {
    include: path => {
      if (path === 'a.js') go('b.swp');
      return true;
    },
    // By then the whole of it was looked through.
    onLinkOut: () => go('c.swp'),
    keepTimes: false,
  });
  t.teardown(() => packed.remove());
  t.deepEqual(namesIn(packed.filePath), ['a.js']);
});

test('what is no directory is refused, and nothing is left behind', async t => {
  const directory = await tree(t, { file: '' });
  const into = await temporaryDirectory(t);
  for (const wrong of [join(directory, 'file'), join(directory, 'nowhere')]) {
    await t.throwsAsync(packDirectory(wrong, { ignore: [], into }), {
      instanceOf: PackError,
      message: /is not a directory/,
    });
  }
  t.deepEqual(await readdir(into), []);
});

test('packing can be aborted', async t => {
  const directory = await tree(t, { file: 'x' });
  const into = await temporaryDirectory(t);
  await t.throwsAsync(
    packDirectory(directory, { ignore: [], into, signal: AbortSignal.abort(new Error('enough')) }),
    {
      message: 'enough',
    },
  );
  t.deepEqual(await readdir(into), []);
});

test('the texts that are asked for are read, others are not', async t => {
  const directory = await tree(t, {
    Procfile: 'web: x',
    'hop3/hop3.toml': '[run]',
    ENV: 'A=1',
    'app.py': '',
  });
  const paths = ['Procfile', 'hop3/hop3.toml', 'hop3.toml', 'ENV'];
  t.deepEqual(await readAppFiles(directory, paths), {
    Procfile: 'web: x',
    'hop3/hop3.toml': '[run]',
    ENV: 'A=1',
  });
});

test('a directory where a file was expected is named', async t => {
  const directory = await tree(t, {});
  await mkdir(join(directory, 'Procfile'));
  await t.throwsAsync(readAppFiles(directory, ['Procfile']), {
    instanceOf: PackError,
    message: /cannot read .*Procfile/,
  });
});

const packages: { name: string; json: string; start: boolean }[] = [
  { name: 'a start script', json: '{"scripts":{"start":"node ."}}', start: true },
  { name: 'other scripts only', json: '{"scripts":{"test":"x"}}', start: false },
  { name: 'nothing', json: '{}', start: false },
  { name: 'null', json: 'null', start: false },
  { name: 'no JSON', json: '{', start: false },
];
for (const { name, json, start } of packages) {
  test(`a package.json with ${name} ${start ? 'can' : 'cannot'} be started by npm`, async t => {
    const directory = await tree(t, { 'package.json': json, 'node_modules/x/y': '' });
    t.deepEqual(await sourceFacts(directory), { packageStart: start, files: ['package.json'] });
  });
}
