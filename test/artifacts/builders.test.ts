import { execFile, execFileSync, spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { access, readFile, readdir, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { serveArtifacts } from '../../src/artifacts/serve-artifacts.ts';
import type { AppSpec } from '../../src/model/app-spec.ts';
import { ArtifactError, type Artifacts } from '../../src/ports/artifacts.ts';
import { freePort } from '../support/free-port.ts';
import { until } from '../support/until.ts';
import { artifactsIn, never, spec, tree, upload, webProcess } from './helpers.ts';

// These use the real package managers and their registries; everything else about building is tested without them.

const run = promisify(execFile);

type Unpacked = Awaited<ReturnType<Artifacts['unpack']>>;

interface App {
  files: Record<string, string>;
  changes?: Partial<AppSpec>;
}

/** Builds on one node, brings the artifacts to another, and takes the first one away. */
async function builtAndMoved(t: ExecutionContext, ...apps: App[]): Promise<Unpacked[]> {
  t.timeout(300_000, 'package managers and compilers may have to start from nothing, on a slow machine');
  const builder = await artifactsIn(t);
  const runner = await artifactsIn(t);
  const server = createServer(serveArtifacts(builder.artifacts)).listen(0, '127.0.0.1');
  t.teardown(() => server.close());
  await new Promise(resolve => server.once('listening', resolve));
  const holder = {
    node: 'builder',
    peer: { host: '127.0.0.1', port: (server.address() as AddressInfo).port },
  };
  const digests: string[] = [];
  for (const { files, changes } of apps) {
    const digest = await upload(builder.artifacts, await tree(t, files));
    const app = spec({ ...changes, source: { kind: 'uploaded', digest } });
    const ref = await builder.artifacts.build(app, () => undefined, never);
    t.not(ref.platform, null);
    await runner.artifacts.fetch(ref.digest, [holder], never);
    digests.push(ref.digest);
  }
  await rm(builder.stateDir, { recursive: true, force: true });
  return Promise.all(digests.map((digest, index) => runner.artifacts.unpack(digest, 'shop', index + 1)));
}

function environment({ env, pathPrepend, directory }: Unpacked): NodeJS.ProcessEnv {
  const path = [...pathPrepend, process.env['PATH']].join(':');
  return { ...env, HOME: directory, PATH: path };
}

test('a Node app gets what its lock file says, and nothing of its development dependencies', async t => {
  const manifest = {
    name: 'shop',
    version: '1.0.0',
    scripts: { build: 'node build.js' },
    dependencies: { 'is-number': '7.0.0' },
    devDependencies: { 'is-odd': '3.0.1' },
  };
  const lock = {
    name: 'shop',
    version: '1.0.0',
    lockfileVersion: 3,
    requires: true,
    packages: {
      '': {
        name: 'shop',
        version: '1.0.0',
        dependencies: manifest.dependencies,
        devDependencies: manifest.devDependencies,
      },
      'node_modules/is-number': { version: '7.0.0' },
      'node_modules/is-odd': { version: '3.0.1', dev: true, dependencies: { 'is-number': '^6.0.0' } },
      'node_modules/is-odd/node_modules/is-number': { version: '6.0.0', dev: true },
    },
  };
  const files = {
    'package.json': JSON.stringify(manifest),
    'package-lock.json': JSON.stringify(lock),
    'build.js': "require('fs').writeFileSync('built.txt', String(require('is-odd')(3)))",
    'app.js': "console.log(require('is-number')(5), process.env.NODE_ENV)",
  };
  const [unpacked] = (await builtAndMoved(t, { files })) as [Unpacked];
  const { stdout } = await run('node', ['app.js'], { cwd: unpacked.directory, env: environment(unpacked) });
  t.is(stdout, 'true production\n');
  t.is(await readFile(join(unpacked.directory, 'built.txt'), 'utf8'), 'true');
  t.false((await readdir(join(unpacked.directory, 'node_modules'))).includes('is-odd'));
});

test('a Python app answers from another place than it was built in', async t => {
  const files = {
    'requirements.txt': 'six==1.17.0\n',
    'app.py': [
      'import six',
      'def app(environ, start_response):',
      "    start_response('200 OK', [])",
      "    return [six.ensure_binary('hello from ' + six.__version__)]",
    ].join('\n'),
  };
  const wsgi = webProcess({ kind: 'wsgi', command: 'app:app' });
  const changes = { processes: [wsgi], build: { ...spec().build, pipInstall: ['wheel'] } };
  const building = builtAndMoved(t, { files, changes });
  if (!works('python3', '-c', 'import venv, ensurepip')) return missing(t, building, /apt install python3/);
  const [unpacked] = (await building) as [Unpacked];
  t.is(unpacked.env['VIRTUAL_ENV'], join(unpacked.directory, 'venv'));
  await access(join(unpacked.directory, 'venv/bin/wheel'));
  const port = await freePort();
  // As a Procfile says it: found on PATH, started through its own first line.
  const server = spawn('/bin/sh', ['-c', `exec gunicorn --bind 127.0.0.1:${port} app:app`], {
    cwd: unpacked.directory,
    env: environment(unpacked),
    stdio: 'ignore',
    detached: true,
  });
  t.teardown(() => endGroup(server.pid!));
  t.is(await answer(port), 'hello from 1.17.0');
  const { stdout } = await run('pip', ['--version'], { cwd: unpacked.directory, env: environment(unpacked) });
  t.true(stdout.includes(unpacked.directory));
  t.deepEqual(await filesMentioning(unpacked.directory, '/builds/'), []);
});

test('Go apps run as they were built, also where their Procfile says `go run` and there is no Go', async t => {
  const fromSource = {
    files: { 'server.go': 'package main\n\nimport "os"\n\nfunc main() { println("hello", os.Args[1]) }\n' },
    changes: { processes: [webProcess({ command: 'go run server.go' })] },
  };
  const withModule = {
    files: {
      'go.mod': 'module example.com/shop\n',
      'main.go': 'package main\n\nfunc main() { println("hi") }\n',
    },
  };
  const building = builtAndMoved(t, fromSource, withModule);
  if (!works('go', 'version')) return missing(t, building, /apt install golang-go/);
  const [first, second] = (await building) as [Unpacked, Unpacked];

  const withoutGo = { ...first.env, PATH: [...first.pathPrepend, '/usr/bin:/bin'].join(':') };
  const options = { cwd: first.directory, env: withoutGo };
  t.is((await run('sh', ['-c', 'go run server.go world'], options)).stderr, 'hello world\n');

  t.is((await run('shop', { cwd: second.directory, env: environment(second) })).stderr, 'hi\n');
  // Everything else of Go is left to Go, with this node's own cache.
  const asked = await run('go', ['env', 'GOCACHE'], { cwd: first.directory, env: environment(first) });
  t.is(asked.stdout.trim(), first.env['GOCACHE'] ?? 'none');
  t.false(asked.stdout.startsWith(first.directory));
});

test('a package that does not exist fails the build with what the package manager said', async t => {
  const { artifacts } = await artifactsIn(t);
  const manifest = { dependencies: { 'is-number': 'file:./not-here.tgz' } };
  const digest = await upload(artifacts, await tree(t, { 'package.json': JSON.stringify(manifest) }));
  const error = await t.throwsAsync(
    artifacts.build(spec({ source: { kind: 'uploaded', digest } }), () => undefined, never),
    { instanceOf: ArtifactError, message: /`npm install .*failed with exit code/ },
  );
  t.regex(error.output.join('\n'), /not-here\.tgz/);
});

/** On a machine without the tool, what can be tested is that its package is named. */
async function missing(t: ExecutionContext, building: Promise<unknown>, message: RegExp): Promise<void> {
  await t.throwsAsync(building, { instanceOf: ArtifactError, message });
}

function works(command: string, ...args: string[]): boolean {
  try {
    execFileSync(command, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

async function filesMentioning(directory: string, text: string): Promise<string[]> {
  const names = await readdir(join(directory, 'venv/bin'));
  const paths = ['venv/pyvenv.cfg', 'BUILD_ARTIFACT.json', ...names.map(name => `venv/bin/${name}`)];
  const contents = await Promise.all(paths.map(path => readFile(join(directory, path), 'latin1')));
  return paths.filter((path, index) => !path.includes('python') && contents[index]!.includes(text));
}

/** Its workers, too: they write into the directory that is removed next. */
async function endGroup(pid: number): Promise<void> {
  await until(`the process group ${pid} has ended`, () => {
    try {
      process.kill(-pid, 'SIGKILL');
      return false;
    } catch {
      return true;
    }
  });
}

async function answer(port: number): Promise<string> {
  return until(`port ${port} answers`, () =>
    fetch(`http://127.0.0.1:${port}/`).then(
      response => response.text(),
      () => null,
    ),
  );
}
