import test from 'ava';
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const root = join(import.meta.dirname, '..');

interface Violation {
  from: string;
  rule: { name: string };
}

/** Each is a file with this one import, and the rule that must report it. */
const breaches: Record<string, { file: string; imports: string; rule: string }> = {
  'a pure room reads a file': {
    file: 'src/placement/breach-file.ts',
    imports: 'node:fs',
    rule: 'deciding-does-no-io',
  },
  'a pure room takes a port, if only its type': {
    file: 'src/reconcile/breach-port.ts',
    imports: '../ports/store.ts',
    rule: 'reconcile-imports-only-what-it-may',
  },
  'a pure room takes another': {
    file: 'src/assess/breach-room.ts',
    imports: '../promise/target.ts',
    rule: 'assess-imports-only-what-it-may',
  },
  'the model takes a room': {
    file: 'src/model/breach-room.ts',
    imports: '../placement/target.ts',
    rule: 'model-imports-only-what-it-may',
  },
  'the loops take the store itself': {
    file: 'src/agent/breach-store.ts',
    imports: '../store/target.ts',
    rule: 'agent-imports-only-what-it-may',
  },
  'the loops take a timer of their own': {
    file: 'src/agent/breach-timer.ts',
    imports: 'node:timers/promises',
    rule: 'deciding-does-no-io',
  },
  'the loops take etcd3': {
    file: 'src/agent/breach-package.ts',
    imports: 'etcd3',
    rule: 'agent-hides-only-its-own-packages',
  },
  'one adapter takes another': {
    file: 'src/drivers/breach-room.ts',
    imports: '../artifacts/target.ts',
    rule: 'drivers-imports-only-what-it-may',
  },
  'the API takes the platform': {
    file: 'src/api/breach-room.ts',
    imports: '../platform/target.ts',
    rule: 'api-imports-only-what-it-may',
  },
  'the command line takes the loops': {
    file: 'src/cli/breach-agent.ts',
    imports: '../agent/target.ts',
    rule: 'cli-imports-only-what-it-may',
  },
  'the command line takes more of the artifacts than packing': {
    file: 'src/cli/breach-artifacts.ts',
    imports: '../artifacts/target.ts',
    rule: 'cli-imports-only-what-it-may',
  },
  'the command line takes the server’s side of the API': {
    file: 'src/cli/breach-server.ts',
    imports: '../api/target.ts',
    rule: 'cli-imports-only-what-it-may',
  },
  'the authority takes the platform': {
    file: 'src/authority/breach-room.ts',
    imports: '../platform/target.ts',
    rule: 'authority-imports-only-what-it-may',
  },
  'the platform makes certificates': {
    file: 'src/platform/breach-package.ts',
    imports: '@peculiar/x509',
    rule: 'platform-hides-only-its-own-packages',
  },
  'a room takes a package that another hides': {
    file: 'src/store/breach-package.ts',
    imports: 'koa',
    rule: 'store-hides-only-its-own-packages',
  },
  'the store starts a process': {
    file: 'src/store/breach-process.ts',
    imports: 'node:child_process',
    rule: 'only-rooms-that-run-programs-start-processes',
  },
  'somebody takes main.ts': {
    file: 'src/cli/breach-main.ts',
    imports: '../main.ts',
    rule: 'nobody-imports-main',
  },
  'somebody takes a part of main': {
    file: 'src/api/breach-main.ts',
    imports: '../main/target.ts',
    rule: 'nobody-imports-main',
  },
  'the product takes a test': {
    file: 'src/main/breach-test.ts',
    imports: '../../test/target.ts',
    rule: 'src-never-imports-test',
  },
  'two files take each other': {
    file: 'src/proxy/breach-cycle.ts',
    imports: './cycle-partner.ts',
    rule: 'no-cycles',
  },
  'a new room has no rules yet': {
    file: 'src/brandnew/breach-rules.ts',
    imports: '../model/target.ts',
    rule: 'every-room-has-its-rules',
  },
};

const lawful: Record<string, { file: string; imports: string }> = {
  'the store takes etcd3': { file: 'src/store/lawful-package.ts', imports: 'etcd3' },
  'the API takes koa': { file: 'src/api/lawful-package.ts', imports: 'koa' },
  'the loops take a pure room': { file: 'src/agent/lawful-room.ts', imports: '../placement/target.ts' },
  'an adapter reads a file': { file: 'src/drivers/lawful-file.ts', imports: 'node:fs' },
  'the command line packs': { file: 'src/cli/lawful-pack.ts', imports: '../artifacts/pack.ts' },
  'main takes what it likes': { file: 'src/main/lawful-room.ts', imports: '../store/target.ts' },
};

const targets = [
  'src/main.ts',
  'src/ports/store.ts',
  'src/artifacts/pack.ts',
  'test/target.ts',
  ...['agent', 'api', 'artifacts', 'main', 'model', 'placement', 'platform', 'promise', 'store'].map(
    room => `src/${room}/target.ts`,
  ),
];

let house: string;
let found: Violation[] = [];

test.before('a small house in which every rule is broken', async () => {
  house = await mkdtemp(join(tmpdir(), 'hop3-import-rules-'));
  for (const file of targets) await write(file, 'export type Target = string;\n');
  for (const { file, imports } of [...Object.values(breaches), ...Object.values(lawful)]) {
    await write(file, `import type {} from '${imports}';\nexport type Own = string;\n`);
  }
  await write('src/proxy/cycle-partner.ts', "import type { Own } from './breach-cycle.ts';\n");
  for (const name of ['package.json', 'tsconfig.json']) await cp(join(root, name), join(house, name));
  await cp(join(root, 'test/import-rules.js'), join(house, 'test/import-rules.js'));
  await symlink(join(root, 'node_modules'), join(house, 'node_modules'));
  found = await violations(house);
});

test.after.always('it is gone again', () => rm(house, { recursive: true, force: true }));

for (const [name, { file, rule }] of Object.entries(breaches)) {
  test(`it is reported when ${name}`, t => {
    t.true(
      found.filter(({ from }) => from === file).some(({ rule: { name } }) => name === rule),
      `${file}: ${rule} was not among ${JSON.stringify(found.filter(({ from }) => from === file))}`,
    );
  });
}

for (const [name, { file }] of Object.entries(lawful)) {
  test(`it is let through when ${name}`, t => {
    t.deepEqual(
      found.filter(({ from }) => from === file),
      [],
    );
  });
}

test('this house breaks none', async t => t.deepEqual(await violations(root), []));

async function write(file: string, text: string): Promise<void> {
  await mkdir(dirname(join(house, file)), { recursive: true });
  await writeFile(join(house, file), text);
}

/** What the import check finds below `directory/src`. */
async function violations(directory: string): Promise<Violation[]> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [
      join(root, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs'),
      ...['src', '--config', 'test/import-rules.js', '--output-type', 'json'],
    ],
    { cwd: directory, maxBuffer: 64 * 1024 * 1024 },
  );
  return (JSON.parse(stdout) as { summary: { violations: Violation[] } }).summary.violations;
}
