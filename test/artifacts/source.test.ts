import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { packDirectory } from '../../src/artifacts/pack.ts';
import type { SourceSpec } from '../../src/model/app-spec.ts';
import { ArtifactError, type BuildNote } from '../../src/ports/artifacts.ts';
import { artifactsIn, never, spec, tarball, temporaryDirectory, tree } from './helpers.ts';

function git(directory: string, ...args: string[]): string {
  return execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.com', ...args], {
    cwd: directory,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { PATH: process.env['PATH'], HOME: directory },
  }).trim();
}

async function repository(t: ExecutionContext): Promise<{ directory: string; url: string; first: string }> {
  const directory = await tree(t, { 'index.html': 'one' });
  git(directory, 'init', '--quiet', '--initial-branch=main');
  git(directory, 'add', '.');
  git(directory, 'commit', '--quiet', '-m', 'one');
  const first = git(directory, 'rev-parse', 'HEAD');
  git(directory, 'tag', 'v1');
  await writeFile(join(directory, 'index.html'), 'two');
  await writeFile(join(directory, '.gitignore'), 'dist\n');
  await mkdir(join(directory, 'dist'));
  await writeFile(join(directory, 'dist', 'made.js'), 'kept');
  git(directory, 'add', '--force', '.');
  git(directory, 'commit', '--quiet', '-m', 'two');
  return { directory, url: pathToFileURL(directory).href, first };
}

async function built(t: ExecutionContext, source: SourceSpec, ignore: string[] = []) {
  const { artifacts, stateDir } = await artifactsIn(t);
  const notes: BuildNote[] = [];
  const ref = await artifacts.build(spec({ source, build: { ignore } }), note => notes.push(note), never);
  const { directory } = await artifacts.unpack(ref.digest, 'shop', 1);
  return { ref, directory, notes, stateDir };
}

test('a git source is the tree of its branch, tag or commit, and nothing else', async t => {
  const { url, first } = await repository(t);
  for (const [ref, content] of [
    ['main', 'two'],
    ['v1', 'one'],
    [first, 'one'],
  ] as const) {
    const { directory, stateDir } = await built(t, { kind: 'git', url, ref });
    t.is(await readFile(join(directory, 'index.html'), 'utf8'), content, ref);
    t.false((await readdir(directory)).includes('.git'));
    t.deepEqual(await readdir(join(stateDir, 'builds')), []);
  }
});

test('what is committed is kept even if .gitignore names it; build.ignore decides', async t => {
  const { url } = await repository(t);
  const source: SourceSpec = { kind: 'git', url, ref: 'main' };
  t.true((await readdir((await built(t, source)).directory)).includes('dist'));
  t.false((await readdir((await built(t, source, ['dist'])).directory)).includes('dist'));
});

test('the same tree has the same digest, uploaded or cloned', async t => {
  const { directory, url } = await repository(t);
  const packed = await packDirectory(directory, { ignore: [], gitignore: false });
  t.teardown(() => packed.remove());
  t.is((await built(t, { kind: 'git', url, ref: 'main' })).ref.digest, packed.digest);
});

test('a link out of a repository is refused', async t => {
  const { directory, url } = await repository(t);
  await symlink('/etc/passwd', join(directory, 'users'));
  git(directory, 'add', '.');
  git(directory, 'commit', '--quiet', '-m', 'three');
  await t.throwsAsync(built(t, { kind: 'git', url, ref: 'main' }), {
    instanceOf: ArtifactError,
    message: /users is a link out of the directory/,
  });
});

const wrongGit: { name: string; url: string; ref?: string; message: RegExp }[] = [
  { name: 'a command for an address', url: 'ext::sh -c id', message: /is no git address/ },
  { name: 'an option for an address', url: '--upload-pack=id', message: /is no git address/ },
  { name: 'an option for a host', url: 'ssh://-oProxyCommand=id/x', message: /is no git address/ },
  { name: 'a path', url: '/etc', message: /is no git address/ },
  { name: 'an option for a ref', url: 'file:///nowhere', ref: '--upload-pack=id', message: /is no git ref/ },
  { name: 'a refspec for a ref', url: 'file:///nowhere', ref: 'a:b', message: /is no git ref/ },
  { name: 'nothing for a ref', url: 'file:///nowhere', ref: '', message: /is no git ref/ },
  {
    name: 'a repository that is not there',
    url: 'file:///nowhere',
    message: /cannot fetch main of file:\/\/\/nowhere: '\/nowhere' does not appear to be a git repository$/,
  },
];
for (const { name, url, ref = 'main', message } of wrongGit) {
  test(`git with ${name} is refused`, async t => {
    await t.throwsAsync(built(t, { kind: 'git', url, ref }), { instanceOf: ArtifactError, message });
  });
}

test('git does not ask anybody for a password', async t => {
  const url = await served(t, Buffer.from(''), 401);
  const error = await t.throwsAsync(
    built(t, { kind: 'git', url: url.replace('//', '//me:secret@'), ref: 'main' }),
    { instanceOf: ArtifactError, message: /cannot fetch main/ },
  );
  t.notRegex(`${error.message} ${error.output.join(' ')}`, /secret/);
});

async function served(t: ExecutionContext, body: Buffer, status = 200): Promise<string> {
  const server = createServer((_request, response) => {
    response.writeHead(status, { 'www-authenticate': 'Basic realm="x"' }).end(body);
  }).listen(0, '127.0.0.1');
  await new Promise(resolve => server.once('listening', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/app.tar.gz`;
}

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

test('an archive is downloaded, checked, and stripped of its one top directory', async t => {
  const bytes = tarball([
    { path: 'app-1.2/', type: 'Directory' },
    { path: 'app-1.2/index.html', content: 'hello' },
    { path: 'app-1.2/sub/x', content: 'x' },
  ]);
  const url = await served(t, bytes);
  const { directory, ref } = await built(t, { kind: 'archive', url, sha256: sha256(bytes) });
  t.is(await readFile(join(directory, 'index.html'), 'utf8'), 'hello');
  const file = join(await temporaryDirectory(t), 'app.tgz');
  await writeFile(file, bytes);
  const local = await built(t, {
    kind: 'archive',
    url: pathToFileURL(file).href,
    sha256: sha256(bytes).toUpperCase(),
  });
  t.is(local.ref.digest, ref.digest);
});

test('an archive with several things at its top is taken as it is', async t => {
  const bytes = tarball([{ path: 'a/x' }, { path: 'b' }]);
  const { directory } = await built(t, {
    kind: 'archive',
    url: await served(t, bytes),
    sha256: sha256(bytes),
  });
  t.deepEqual(await readdir(directory), ['a', 'b']);
});

const evil = tarball([{ path: '../evil' }]);
const zip = Buffer.from('PK\x03\x04 and so on');
const archives: { name: string; bytes: Buffer; sha256?: string; status?: number; message: RegExp }[] = [
  {
    name: 'another sha256',
    bytes: evil,
    sha256: '0'.repeat(64),
    message: /the manifest expects sha256:0000/,
  },
  { name: 'a path out of it', bytes: evil, message: /leads out/ },
  { name: 'a zip file', bytes: zip, message: /is a zip file: use a \.tar\.gz or \.tgz/ },
  { name: 'no archive', bytes: Buffer.from('hello'), message: /is no gzipped tar file/ },
  { name: 'nothing', bytes: Buffer.from(''), message: /is no gzipped tar file/ },
  { name: 'an error', bytes: Buffer.from(''), status: 503, message: /HTTP 503/ },
];
for (const { name, bytes, sha256: expected = sha256(bytes), status = 200, message } of archives) {
  test(`a download of ${name} is refused`, async t => {
    const url = await served(t, bytes, status);
    await t.throwsAsync(built(t, { kind: 'archive', url, sha256: expected }), {
      instanceOf: ArtifactError,
      message,
    });
  });
}

for (const url of ['ftp://host/x.tar.gz', 'x.tar.gz', 'data:,x']) {
  test(`"${url}" is no address of an archive`, async t => {
    await t.throwsAsync(built(t, { kind: 'archive', url, sha256: '' }), { message: /is no archive address/ });
  });
}

test('a download that is too large is cut off', async t => {
  const { artifacts } = await artifactsIn(t, { limits: { maxSourceBytes: 1000 } });
  const url = await served(t, Buffer.alloc(5000));
  const app = spec({ source: { kind: 'archive', url, sha256: '0'.repeat(64) } });
  await t.throwsAsync(
    artifacts.build(app, () => undefined, never),
    { message: /larger than the limit of 1000 bytes/ },
  );
});
