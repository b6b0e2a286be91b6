import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readEnvFile } from '../../src/manifest/env-file.ts';
import { readAppDirectory } from '../../src/manifest/read-app-directory.ts';
import { readManifest } from '../../src/manifest/read-manifest.ts';
import type { AppSpec, ProcessSpec } from '../../src/model/app-spec.ts';
import { problemText, type Problem } from '../../src/model/problem.ts';

/** A folder of configuration files and its `expected.tsv`: file, verdict (`accept` or `reject`), why. */
export interface CorpusRow {
  file: string;
  verdict: 'accept' | 'reject';
  why: string;
}

interface Reading {
  spec: AppSpec | null;
  /** Also known of an app whose process only its source names. */
  startTimeoutSeconds: number;
  env: ReadonlyMap<string, string>;
  problems: Problem[];
}

export function readRows(directory: string): CorpusRow[] {
  const [header, ...lines] = readFileSync(join(directory, 'expected.tsv'), 'utf8').split('\n');
  if (header !== 'file\tverdict\twhy') throw new Error('expected.tsv must begin with: file, verdict, why');
  return lines
    .filter(line => line !== '')
    .map(line => {
      const [file = '', verdict, why = ''] = line.split('\t');
      if (verdict !== 'accept' && verdict !== 'reject') throw new Error(`no verdict in: ${line}`);
      return { file, verdict, why };
    });
}

/** Every way in which the reading of one file is not what its row says; empty = it passes. */
export function mismatches(directory: string, row: CorpusRow): string[] {
  const reading = readCorpusFile(row.file, readFileSync(join(directory, row.file), 'utf8'));
  const texts = reading.problems.map(problemText);
  if (row.verdict === 'reject') {
    if (texts.length === 0) return ['accepted, but must be rejected'];
    return row.why
      .split('; ')
      .filter(reason => !reading.problems.some(problem => names(problem, reason)))
      .map(reason => `does not say "${reason}", but: ${texts.join(' | ')}`);
  }
  if (texts.length > 0) return [`rejected, but must be accepted: ${texts.join(' | ')}`];
  const facts = row.why.replace(/ \([^)]*\)/g, '').split(', ');
  return facts.flatMap(fact => (holds(reading, fact) ? [] : [`"${fact}" was not derived`]));
}

export function readCorpusFile(file: string, text: string): Reading {
  const nothing = { spec: null, startTimeoutSeconds: 0, env: new Map<string, string>() };
  if (file.endsWith('.yaml')) {
    const { apps, problems } = readManifest(file, text);
    const [app] = apps;
    const startTimeoutSeconds = app?.webSettings.startTimeoutSeconds ?? 0;
    return { ...nothing, spec: app?.spec ?? null, startTimeoutSeconds, problems };
  }
  const kind = file.endsWith('ENV') ? 'ENV' : /Procfile[\w-]*$/.test(file) ? 'Procfile' : 'hop3.toml';
  const read = readAppDirectory({ [kind]: text }, { directoryName: 'corpus' });
  return {
    spec: read.spec,
    startTimeoutSeconds: read.webSettings.startTimeoutSeconds,
    env: kind === 'ENV' ? readEnvFile(kind, text).values : new Map(),
    problems: read.problems,
  };
}

function names(problem: Problem, reason: string): boolean {
  const unknown = /^unknown (?:section \[(.+)\]|key \[(.+)\]\.(.+))$/.exec(reason);
  if (unknown) {
    const field = unknown[1] ?? `${unknown[2] ?? ''}.${unknown[3] ?? ''}`;
    return problem.field === field && problem.message.startsWith('unknown ');
  }
  const env = /^\[env\]\.(\w+) = \{.*\} is neither a generated secret nor a reference$/.exec(reason);
  if (env) return problem.field === `env.${env[1] ?? ''}` && problem.message.includes('neither a generated');
  const list = /^\[(\w+)\] must be an array of tables$/.exec(reason);
  if (list) return problem.field === list[1] && problem.message.startsWith('must be a list');
  // Our own rows: `FIELD: part of the message`, with `LINE:COLUMN ` before it where the place matters.
  const own = /^(?:(\d+):(\d+) )?((?:[^:]|:(?! ))*): (.+)$/.exec(reason);
  if (!own) return false;
  const [, line, column, field, message = ''] = own;
  const isThere = line === undefined || (problem.line === Number(line) && problem.column === Number(column));
  return isThere && problem.field === field && problem.message.includes(message);
}

/** What a row says in words, as tests of the spec. What the agent has no use for is not derived. */
const facts: [RegExp, (reading: Reading, spec: AppSpec, value: string, more: string) => boolean][] = [
  [/^id (.+)$/, (_, spec, id) => spec.app === id],
  [/^name (.+)$/, (_, spec, name) => spec.app === name],
  [/^no id$/, (_, spec) => spec.app !== ''],
  [/^builder (.+)$/, (_, spec, builder) => spec.build.builder === builder],
  [/^toolchain (.+)$/, (_, spec, toolchain) => spec.build.toolchain === toolchain],
  [/^(?:web|jwsgi)=(.+)$/, (_, spec, command) => isCommand(process(spec, 'web', 'command'), command)],
  [/^wsgi=(.+)$/, (_, spec, module) => isWsgi(process(spec, 'web', 'wsgi'), module)],
  [/^static dir (.+)$/, (_, spec, directory) => process(spec, 'web', 'static')?.directory === directory],
  [
    /^no web (?:command|process)$/,
    (_, spec) => !process(spec, 'web', 'command') && !process(spec, 'web', 'wsgi'),
  ],
  [/^no process type at all$/, (_, spec) => spec.processes.length === 0],
  [/^worker (\w+)=(.+)$/, (_, spec, name, command) => isCommand(process(spec, name, 'command'), command)],
  [/^worker (\w+)$/, (_, spec, name) => process(spec, name, 'command') !== undefined],
  [/^release=(.+)$/, (_, spec, command) => isCommand(process(spec, 'release', 'command'), command)],
  [
    /^cron (.+)$/,
    (_, spec, line) => spec.crons.some(cron => `${cron.schedule.expression} ${cron.command}` === line),
  ],
  [/^prerun=(.+)$/, (_, spec, command) => startsWith(spec.beforeRun.join(' && '), command)],
  [
    /^(?:hook )?prebuild=(.+)$/,
    (_, spec, command) => startsWith(spec.build.beforeBuild.join(' && '), command),
  ],
  [
    /^(?:hook )?postbuild=(.+)$/,
    (_, spec, command) => startsWith(spec.build.afterBuild.join(' && '), command),
  ],
  [/^build=(.+)$/, (_, spec, command) => startsWith(spec.build.build.join(' && '), command)],
  [/^start-timeout (\d+)$/, (reading, _, seconds) => reading.startTimeoutSeconds === Number(seconds)],
  [
    /^(?:legacy \[\[provider\]\] = )?addon (\w+)$/,
    (_, spec, type) => spec.addons.some(addon => addon.type === type),
  ],
  [
    /^addon (\w+) named (\w+)$/,
    (_, spec, type, name) => spec.addons.some(addon => addon.type === type && addon.name === name),
  ],
  [/^healthcheck without path$/, (_, spec) => spec.healthcheck.path === null],
  [/^healthcheck (\/.*)$/, (_, spec, path) => spec.healthcheck.path === path],
  [/^body contains (.+)$/, (_, spec, text) => spec.healthcheck.contains === text],
  [/^failure-threshold (\d+)$/, (_, spec, count) => spec.healthcheck.failureThreshold === Number(count)],
  [/^host (.+)$/, (_, spec, names) => spec.hostnames.join(' ') === names],
  [/^memory (\d+)$/, (_, spec, bytes) => spec.limits.memoryBytes === Number(bytes)],
  [/^cpu (.+)$/, (_, spec, cores) => spec.limits.cpu === Number(cores)],
  [/^processes (\d+)$/, (_, spec, count) => spec.limits.processes === Number(count)],
  [/^env (.+)$/, (_, spec, names) => names.split(' ').every(name => isLiteral(spec, name))],
  [
    /^generated (.+)$/,
    (_, spec, names) => names.split(' ').every(name => spec.env[name]?.kind === 'generated'),
  ],
  [
    /^computed (.+)$/,
    (_, spec, names) => names.split(' ').every(name => spec.env[name]?.kind === 'computed'),
  ],
  [
    /^references (.+)$/,
    (_, spec, names) => names.split(' ').every(name => spec.env[name]?.kind.startsWith('from-')),
  ],
  [
    /^volume (\S+) at (\S+)$/,
    (_, spec, name, target) => spec.volumes.some(volume => volume.name === name && volume.target === target),
  ],
  [
    /^fixed port (\d+)\/(\w+)$/,
    (_, spec, number, protocol) =>
      spec.ports.some(port => port.number === Number(number) && port.protocol === protocol),
  ],
  [/^no variable$/, reading => reading.env.size === 0],
  [/^([A-Z_0-9]+)=(.*)$/, (reading, _, name, value) => reading.env.get(name) === value],
  [/^commented lines ignored$/, () => true],
  [/^(?:docker port|runtime|nix template) /, () => true],
  [/^\[\w+\] (?:documented in config\.md|checked and dropped)$/, () => true],
];

function holds(reading: Reading, fact: string): boolean {
  const { spec } = reading;
  if (spec === null) return false;
  for (const [pattern, test] of facts) {
    const match = pattern.exec(fact);
    if (match) return test(reading, spec, match[1] ?? '', match[2] ?? '');
  }
  return false;
}

function process(spec: AppSpec, type: string, kind: ProcessSpec['kind']): ProcessSpec | undefined {
  return spec.processes.find(candidate => candidate.type === type && candidate.kind === kind);
}

function isCommand(found: ProcessSpec | undefined, command: string): boolean {
  return found !== undefined && startsWith(found.command, command);
}

function isWsgi(found: ProcessSpec | undefined, module: string): boolean {
  return found?.command === `gunicorn --bind "$BIND_ADDRESS:$PORT" ${module}`;
}

/** Rows cut long commands at `...`. */
function startsWith(text: string, expected: string): boolean {
  return expected.endsWith('...') ? text.startsWith(expected.slice(0, -3)) : text === expected;
}

/** HOST_NAME becomes the app's host names. */
function isLiteral(spec: AppSpec, name: string): boolean {
  return name === 'HOST_NAME' ? spec.hostnames.length > 0 : spec.env[name]?.kind === 'literal';
}
