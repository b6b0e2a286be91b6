import test from 'ava';
import { readAppDirectory } from '../../src/manifest/read-app-directory.ts';
import { runnable } from '../../src/manifest/runnable.ts';

const fieldsOf = (toml: string) => {
  const { spec } = readAppDirectory({ 'hop3.toml': toml }, { directoryName: 'app' });
  return runnable(spec!).map(problem => problem.field);
};
const start = '[run]\nstart = "x"\n';

const cases: [string, string, string[]][] = [
  ['an app with a command', start, []],
  ['an app with nothing to run', '', ['run']],
  ['a docker build', `${start}[build]\nbuilder = "docker"`, ['build.builder']],
  ['a nix build', `${start}[build]\nbuilder = "nix"`, ['build.builder']],
  ['a volume', `${start}[[volumes]]\nname = "v"\ntarget = "v"`, ['volumes']],
  ['a fixed port', `${start}[[ports]]\nnumber = 25\nprotocol = "udp"`, []],
  ['a scheduled command', `${start}[run.workers]\ncron = "* * * * * x"`, []],
  ['nothing but a scheduled command', `[run.workers]\ncron = "* * * * * x"`, []],
  ['an addon nobody bound', `${start}[[addons]]\ntype = "postgres"`, ['addons[0]']],
  ['an addon that env names', `${start}[[addons]]\ntype = "postgres"\n[env]\nPGHOST = "db"`, []],
  [
    'an addon that a computed value names',
    `${start}[[addons]]\ntype = "redis"\n[env.computed]\nREDIS_URL = "x"`,
    [],
  ],
  ['an unknown addon', `${start}[[addons]]\ntype = "kafka"`, ['addons[0]']],
  ['a reference to an addon', `${start}[env]\nH = {from = "db", key = "PGHOST"}`, ['env.H']],
  ['a reference to the app', `${start}[env]\nN = {key = "name"}`, []],
];
for (const [name, toml, fields] of cases) {
  test(`${name}: ${fields.length === 0 ? 'runs' : 'is refused'}`, t => t.deepEqual(fieldsOf(toml), fields));
}
