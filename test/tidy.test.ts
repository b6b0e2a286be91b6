import test from 'ava';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** House rules that neither compiler nor linter knows. What fails says what to do instead. */
const root = join(import.meta.dirname, '..');

interface Ban {
  name: string;
  pattern: RegExp;
  /** The files it holds for. */
  where: RegExp;
  instead: string;
  /** Files that may, each with the reason. */
  unless?: Record<string, string>;
}

const code = /^(src|test|deploy)\/.*\.(ts|js)$/;
const product = /^src\//;
const everywhere = /./;
const theseRules = { 'test/tidy.test.ts': 'names what it bans' };

const bans: Ban[] = [
  {
    name: 'chance',
    pattern: /Math\.random\(|\brandomUUID\(|\brandomBytes\(/,
    where:
      /^src\/(model|manifest|placement|ownership|reconcile|promise|assess|supervise|ports|agent|store)\//,
    instead: 'take the Random port',
  },
  {
    name: 'a type named as the platform names its own',
    pattern: /\b(?:interface|type|class) (?:Promise|Request|Response|Process|Event|Error)\b/,
    where: code,
    instead: 'qualify the name: NodePromise, SupervisorRequest, WatchEvent',
    unless: theseRules,
  },
  {
    name: 'a note to oneself',
    pattern: /\b(?:FIXME|XXX|TODO)\b/,
    where: everywhere,
    instead: 'finish it, or file an issue',
    unless: theseRules,
  },
  {
    name: 'a type forced',
    pattern: /\bas unknown as\b/,
    where: product,
    instead: 'parse it at the edge',
    unless: { 'src/agent/world.ts': 'mirrors of every key space in one list; only what they share is used' },
  },
  {
    name: 'printing',
    pattern: /\bconsole\./,
    where: product,
    instead: 'take the Log port, or write to the output the command line was given',
  },
  {
    name: 'a default export',
    pattern: /^export default\b/m,
    where: /^(src|test)\/.*\.ts$/,
    instead: 'export it by its name',
  },
  {
    name: 'exporting again',
    pattern: /^export (?:type )?(?:\*|\{[^}]*\} from)/m,
    where: code,
    instead: 'import the exact file it is in',
    unless: {
      'src/api/client.ts': 'the one door of the client: the command line may take no other file of it',
    },
  },
  {
    name: 'an enum or a namespace',
    pattern: /^\s*(?:export )?(?:const )?(?:enum|namespace) \w/m,
    where: code,
    instead: 'a union of string literals; a file',
  },
  {
    name: 'a rule switched off',
    pattern: /eslint-disable|@ts-ignore|@ts-nocheck|@ts-expect-error|prettier-ignore/,
    where: everywhere,
    instead: 'write it so that the rule holds, or change the rule for everybody',
    unless: {
      ...theseRules,
      'src/platform/log.ts': 'winston’s types confuse the rule; the line above says how',
      'test/cli/captured-io.ts': 'a cast with a name',
    },
  },
  {
    name: 'a test that is not run, or runs alone',
    pattern: /\btest\.(?:\w+\.)*(?:skip|only|todo|failing)\b/,
    where: /^test\//,
    instead: 'let it run, or take it out',
    unless: theseRules,
  },
  {
    name: 'the machine it was written on',
    pattern:
      /registry\.npmjs|\bpypi\.org|proxy\.golang\.org|\/(?:home|Users|root)\/\w|(?:^|[\s'"`(=])\/work\//m,
    where: everywhere,
    instead: 'leave it to the configuration of whoever runs it',
    unless: theseRules,
  },
];

const files = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\0')
  .filter(file => file !== '' && existsSync(join(root, file)));
const own = files.filter(file => !file.startsWith('test/fixtures/') && !/\.(png|ico|gz)$/.test(file));
const texts = new Map(own.map(file => [file, readFileSync(join(root, file), 'utf8')]));

for (const { name, pattern, where, instead, unless } of bans) {
  test(`nowhere: ${name}`, t => {
    const found = own
      .filter(file => where.test(file) && unless?.[file] === undefined)
      .flatMap(file => matches(file, pattern));
    t.deepEqual(found, [], instead);
  });

  if (unless) {
    test(`whoever is excused from the rule on ${name} needs it`, t => {
      t.deepEqual(
        Object.keys(unless).filter(file => !pattern.test(texts.get(file) ?? '')),
        [],
        'take it off the list',
      );
    });
  }
}

test('each ban finds what it is there for', t => {
  const guilty: Record<string, string> = {
    chance: 'const n = Math.random();',
    'a type named as the platform names its own': 'export interface Promise {',
    'a note to oneself': '// TODO later',
    'a type forced': 'x as unknown as Y',
    printing: "console.log('x')",
    'a default export': 'export default {}',
    'exporting again': "export * from './x.ts'",
    'an enum or a namespace': 'export enum Colour {',
    'a rule switched off': '// eslint-disable-next-line',
    'a test that is not run, or runs alone': "test.serial.skip('x')",
    'the machine it was written on': "const here = '/home/me/project'",
  };
  const blind = bans.filter(({ name, pattern }) => !pattern.test(guilty[name] ?? ''));
  t.deepEqual(
    blind.map(({ name }) => name),
    [],
  );
});

test('files are named in lower case with hyphens, and none is a barrel', t => {
  const named = own.filter(file => code.test(file)).map(file => [file, basename(file)] as const);
  const kebab = /^[a-z0-9]+(-[a-z0-9]+)*(\.(test|config))?\.(ts|js)$/;
  t.deepEqual(
    named.filter(([, name]) => !kebab.test(name) || /^index\./.test(name)).map(([file]) => file),
    [],
    'name it for what is in it: restart-policy.ts; import the exact file instead of an index',
  );
});

test('every file that decides has a test of the same name', t => {
  const deciding = /^src\/(placement|ownership|reconcile|promise|assess|supervise)\/.*\.ts$/;
  t.deepEqual(untested(own.filter(file => deciding.test(file))), []);
});

test('every function of the model has a test of the same name', t => {
  const model = own.filter(file => file.startsWith('src/model/'));
  const withFunctions = model.filter(file => /^export (?:async )?function /m.test(texts.get(file) ?? ''));
  t.deepEqual(untested(withFunctions), []);
});

/** The rest of the manifest room is tested through these: what a reader promises is what comes out of its doors. */
test('every door of the manifest room has a test of the same name', t => {
  const doors = own
    .filter(file => product.test(file) && !file.startsWith('src/manifest/'))
    .flatMap(file => [
      ...(texts.get(file) ?? '').matchAll(/^import \{[^}]*\} from '[./]+\/(manifest\/[^']+)'/gm),
    ])
    .map(([, door]) => `src/${door ?? ''}`);
  t.true(doors.length > 0);
  const elsewhere: Record<string, string> = {
    'src/manifest/manifest-text.ts': 'test/manifest/round-trip.test.ts',
    'src/manifest/check-together.ts': 'test/manifest/read-manifest.test.ts',
    'src/manifest/tree.ts': 'test/manifest/read-manifest.test.ts',
    'src/manifest/words.ts': 'test/manifest/read-manifest.test.ts',
  };
  t.deepEqual(untested([...new Set(doors)], elsewhere), []);
});

/** `file:line: text` of every match. */
function matches(file: string, pattern: RegExp): string[] {
  const text = texts.get(file) ?? '';
  const all = new RegExp(pattern.source, `${pattern.flags}g`);
  return [...text.matchAll(all)].map(match => {
    const line = text.slice(0, match.index).split('\n').length;
    return `${file}:${line}: ${text.split('\n')[line - 1]?.trim() ?? ''}`;
  });
}

function untested(sources: string[], elsewhere: Record<string, string> = {}): string[] {
  const testOf = (file: string) => elsewhere[file] ?? file.replace(/^src\/(.*)\.ts$/, 'test/$1.test.ts');
  return sources.filter(file => !existsSync(join(root, testOf(file))));
}
