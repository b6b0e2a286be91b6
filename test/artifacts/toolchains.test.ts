import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { toolchainFor } from '../../src/artifacts/toolchains/detect.ts';
import type { AppSpec } from '../../src/model/app-spec.ts';
import { ArtifactError } from '../../src/ports/artifacts.ts';
import { spec, temporaryDirectory, tree, webProcess } from './helpers.ts';

const wsgi = webProcess({ kind: 'wsgi', command: 'app:app' });
const site = webProcess({ kind: 'static', directory: 'public', command: '' });

interface Row {
  name: string;
  files: Record<string, string>;
  app?: AppSpec;
  toolchain: string;
  commands: string[];
}

const rows: Row[] = [
  {
    name: 'Node with a lock file',
    files: { 'package.json': '{"dependencies":{"x":"1"}}', 'package-lock.json': '{}' },
    toolchain: 'node',
    commands: ['npm ci --no-audit --no-fund --omit=dev'],
  },
  {
    name: 'Node without one',
    files: { 'package.json': '{"dependencies":{"x":"1"}}' },
    toolchain: 'node',
    commands: ['npm install --no-audit --no-fund --omit=dev'],
  },
  { name: 'Node without dependencies', files: { 'package.json': '{}' }, toolchain: 'node', commands: [] },
  {
    name: 'Node with a build script',
    files: { 'package.json': '{"scripts":{"build":"tsc"}}' },
    toolchain: 'node',
    commands: [
      'npm install --no-audit --no-fund --include=dev',
      'npm run build',
      'npm prune --omit=dev --no-audit --no-fund',
    ],
  },
  {
    name: 'Node with its own build',
    files: { 'package.json': '{"scripts":{"build":"tsc"}}', 'package-lock.json': '{}' },
    app: spec({ build: { build: ['make all'] } }),
    toolchain: 'node',
    commands: [
      'npm ci --no-audit --no-fund --include=dev',
      'make all',
      'npm prune --omit=dev --no-audit --no-fund',
    ],
  },
  {
    name: 'Node whose own build installs',
    files: { 'package.json': '{"dependencies":{"x":"1"}}' },
    app: spec({ build: { build: ['npm ci --legacy-peer-deps'] } }),
    toolchain: 'node',
    commands: ['npm ci --legacy-peer-deps'],
  },
  {
    name: 'Python with requirements',
    files: { 'requirements.txt': 'flask', 'pyproject.toml': '[project]', 'package.json': '{}' },
    toolchain: 'python',
    commands: ['python3 -m venv --clear venv', 'pip install -r requirements.txt'],
  },
  {
    name: 'Python as a project, with extras',
    files: { 'pyproject.toml': '[project]\nname = "x"' },
    app: spec({ build: { pipInstall: ["it's>=1", '*.whl'] } }),
    toolchain: 'python',
    commands: ['python3 -m venv --clear venv', 'pip install .', `pip install 'it'\\''s>=1' *.whl`],
  },
  {
    name: 'Python whose pyproject.toml only configures tools',
    files: { 'pyproject.toml': '[tool.ruff]' },
    toolchain: 'python',
    commands: ['python3 -m venv --clear venv'],
  },
  {
    name: 'Python with a wsgi process',
    files: { 'requirements.txt': 'flask' },
    app: spec({ processes: [wsgi] }),
    toolchain: 'python',
    commands: [
      'python3 -m venv --clear venv',
      'pip install -r requirements.txt',
      'test -x venv/bin/gunicorn || pip install gunicorn',
    ],
  },
  {
    name: 'Python with a command after',
    files: { 'requirements.txt': 'flask' },
    app: spec({ build: { build: ['python3 post_build.py'] } }),
    toolchain: 'python',
    commands: ['python3 -m venv --clear venv', 'pip install -r requirements.txt', 'python3 post_build.py'],
  },
  {
    name: 'Python whose own build installs',
    files: { 'requirements.txt': 'flask' },
    app: spec({ build: { build: ['pip install --no-deps .'] } }),
    toolchain: 'python',
    commands: ['python3 -m venv --clear venv', 'pip install --no-deps .'],
  },
  {
    name: 'Go',
    files: { 'go.mod': 'module x', 'main.go': '' },
    toolchain: 'go',
    commands: ['go build -o bin/shop .'],
  },
  {
    name: 'Go without modules',
    files: { 'server.go': '' },
    toolchain: 'go',
    commands: ['go build -o bin/shop .'],
  },
  {
    name: 'Go that its processes run from source',
    files: { 'server.go': '' },
    app: spec({
      processes: [
        webProcess({ command: 'cd . && go run server.go --port $PORT' }),
        webProcess({ type: 'a', command: 'go run ./cmd/a' }),
        webProcess({ type: 'b', command: 'go run server.go' }),
        webProcess({ type: 'c', command: 'go run one.go two.go' }),
        webProcess({ type: 'd', command: 'go run -race other.go; cargo run x' }),
      ],
    }),
    toolchain: 'go',
    commands: [`go build -o .hop3/go/run-0 './cmd/a'`, `go build -o .hop3/go/run-1 'server.go'`],
  },
  {
    name: 'Go with its programs in folders',
    files: { 'go.mod': 'module x', 'cmd/a/main.go': '' },
    toolchain: 'go',
    commands: ['mkdir -p bin && go build -o bin/ ./...'],
  },
  {
    name: 'a static site',
    files: { 'public/index.html': '' },
    app: spec({ processes: [site] }),
    toolchain: 'static',
    commands: [],
  },
  { name: 'anything else', files: { 'run.sh': '' }, toolchain: 'generic', commands: [] },
  {
    name: 'a language nobody here knows, with its own build',
    files: {},
    app: spec({ build: { toolchain: 'php', build: ['composer install'] } }),
    toolchain: 'generic',
    commands: ['composer install'],
  },
  {
    name: 'what the manifest says, whatever is there',
    files: { 'package.json': '{"dependencies":{"x":"1"}}' },
    app: spec({ build: { toolchain: 'static' } }),
    toolchain: 'static',
    commands: [],
  },
];

for (const { name, files, app = spec(), toolchain: expected, commands } of rows) {
  test(`${name} is built as ${expected}`, async t => {
    const directory = await tree(t, files);
    const toolchain = await toolchainFor(directory, app);
    t.is(toolchain.name, expected);
    t.deepEqual(
      (await toolchain.recipe(directory, app, await pathWith(t, ['node', 'npm', 'python3', 'go']))).commands,
      commands,
    );
  });
}

test('an unknown toolchain is refused with those there are', async t => {
  await t.throwsAsync(toolchainFor('/', spec({ build: { toolchain: 'ruby' } })), {
    instanceOf: ArtifactError,
    message: /no builder for the toolchain "ruby": use python, node, go, static, generic/,
  });
});

test('a package.json that cannot be read is named', async t => {
  const directory = await tree(t, { 'package.json': '{' });
  const toolchain = await toolchainFor(directory, spec());
  await t.throwsAsync(toolchain.recipe(directory, spec(), await pathWith(t, ['node'])), {
    instanceOf: ArtifactError,
    message: /package\.json cannot be read/,
  });
});

const missing: { name: string; files: Record<string, string>; tools: string[]; message: RegExp }[] = [
  { name: 'Node', files: { 'package.json': '{}' }, tools: [], message: /needs node,.*apt install nodejs/ },
  {
    name: 'npm',
    files: { 'package.json': '{"dependencies":{"x":"1"}}' },
    tools: ['node'],
    message: /needs npm,.*apt install npm/,
  },
  {
    name: 'Python',
    files: { 'requirements.txt': '' },
    tools: [],
    message: /needs python3,.*apt install python3`/,
  },
  {
    name: 'the venv module',
    files: { 'requirements.txt': '' },
    tools: ['python3 fails'],
    message: /needs python3-venv,.*apt install python3-venv/,
  },
  { name: 'Go', files: { 'go.mod': '' }, tools: [], message: /needs go,.*apt install golang-go/ },
];
for (const { name, files, tools, message } of missing) {
  test(`without ${name} the package to install is named`, async t => {
    const directory = await tree(t, files);
    const toolchain = await toolchainFor(directory, spec());
    await t.throwsAsync(toolchain.recipe(directory, spec(), await pathWith(t, tools)), {
      instanceOf: ArtifactError,
      message,
    });
  });
}

/** A PATH with nothing on it but programs of these names, which do nothing and succeed (or fail, when it says so). */
async function pathWith(t: Parameters<typeof temporaryDirectory>[0], names: string[]): Promise<string> {
  const directory = await temporaryDirectory(t);
  await mkdir(join(directory, 'bin'));
  for (const name of names) {
    const [command = '', fails] = name.split(' ');
    await symlink(fails ? '/bin/false' : '/bin/true', join(directory, 'bin', command));
  }
  // A file without the executable bit is no tool.
  await writeFile(join(directory, 'bin', 'git'), '');
  await chmod(join(directory, 'bin', 'git'), 0o644);
  return join(directory, 'bin');
}
