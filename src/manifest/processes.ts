import type { ProcessSpec, WebSettings } from '../model/app-spec.ts';
import { readCronLine, type CronLine } from './cron.ts';
import { shown } from './tree.ts';
import { processNamePattern } from './words.ts';

/** One `kind: command` of a Procfile, or of `[run]`, where `start` is the kind `web`. */
export interface Entry {
  kind: string;
  command: string;
}

/** What answers web requests: at most one per app. */
export type WebProcess = Pick<ProcessSpec, 'kind' | 'command' | 'directory'>;

export interface Hooks {
  beforeBuild: string[];
  build: string[];
  afterBuild: string[];
  beforeRun: string[];
}

/** What a manifest says of a process besides its command. */
export type ProcessSettings = WebSettings;

/** What one file says is to be run. */
export interface Declared {
  web: WebProcess | null;
  workers: Map<string, string>;
  crons: Map<string, CronLine>;
  hooks: Hooks;
}

export interface EntryProblem<E> {
  entry: E;
  message: string;
  hint: string | null;
}

const gunicorn = 'gunicorn --bind "$BIND_ADDRESS:$PORT" ';
const rackup = 'bundle exec rackup --host "$BIND_ADDRESS" --port "$PORT" ';

const webKinds = ['web', 'wsgi', 'jwsgi', 'rwsgi', 'static'];
const hookKinds: Record<string, keyof Hooks> = {
  preflight: 'beforeBuild',
  prebuild: 'beforeBuild',
  build: 'build',
  postbuild: 'afterBuild',
  prerun: 'beforeRun',
};
const cronKind = /^cron\d*$/;

/** Sorts entries by what their kind means to Hop3; every other kind is a worker. */
export function declare<E extends Entry>(
  entries: readonly E[],
): { declared: Declared; problems: EntryProblem<E>[] } {
  const problems: EntryProblem<E>[] = [];
  const declared = nothingDeclared();
  let web: E | null = null;
  for (const entry of entries) {
    const refuse = (message: string, hint: string | null) => problems.push({ entry, message, hint });
    const { kind, command } = entry;
    const hook = Object.hasOwn(hookKinds, kind) ? hookKinds[kind] : undefined;
    if (command.trim() === '') {
      refuse('has no command', null);
    } else if (webKinds.includes(kind)) {
      if (web?.kind === kind)
        refuse(`there is a "${kind}" already`, 'keep one of the two; run.start is the process "web"');
      else if (web !== null)
        refuse(`"${kind}" and "${web.kind}" both answer web requests`, 'keep one of the two');
      if (kind === 'static' && !isInside(command))
        refuse(`${shown(command)} is not a directory inside the app`, null);
      web = entry;
      declared.web = webProcess(kind, command);
    } else if (cronKind.test(kind)) {
      const read = readCronLine(command);
      if (read.cron === null) refuse(read.problem, read.hint);
      else declared.crons.set(kind, read.cron);
    } else if (hook !== undefined) {
      declared.hooks[hook].push(command);
    } else if (processNamePattern.test(kind)) {
      declared.workers.set(kind, command);
    } else {
      refuse(
        `${shown(kind)} is not a process name`,
        'letters, digits, hyphens and underscores, starting with a letter',
      );
    }
  }
  return { declared, problems };
}

/** The names that `scale` and `exclusive` can use. */
export function processNames(declared: Declared): string[] {
  return [...(declared.web === null ? [] : ['web']), ...declared.workers.keys()];
}

/** `over` wins where both say something; what only one of them says stays. */
export function merge(over: Declared, under: Declared): Declared {
  const hook = (name: keyof Hooks) => (over.hooks[name].length > 0 ? over.hooks[name] : under.hooks[name]);
  return {
    web: over.web ?? under.web,
    workers: new Map([...over.workers, ...[...under.workers].filter(([name]) => !over.workers.has(name))]),
    crons: new Map([...over.crons, ...[...under.crons].filter(([name]) => !over.crons.has(name))]),
    hooks: {
      beforeBuild: hook('beforeBuild'),
      build: hook('build'),
      afterBuild: hook('afterBuild'),
      beforeRun: hook('beforeRun'),
    },
  };
}

export function nothingDeclared(): Declared {
  return {
    web: null,
    workers: new Map(),
    crons: new Map(),
    hooks: { beforeBuild: [], build: [], afterBuild: [], beforeRun: [] },
  };
}

export function staticSite(directory: string): WebProcess {
  return { kind: 'static', command: '', directory };
}

/** `app:app`, as the kind `wsgi` names it: the inverse of what `declare` made of it. */
export function wsgiModule(process: WebProcess): string {
  const quoted = process.command.slice(gunicorn.length);
  return quoted.startsWith("'") ? quoted.slice(1, -1).replaceAll(`'\\''`, `'`) : quoted;
}

function webProcess(kind: string, command: string): WebProcess {
  if (kind === 'static') return staticSite(command.trim());
  if (kind === 'wsgi') return { kind: 'wsgi', command: gunicorn + shellWord(command), directory: '' };
  if (kind === 'rwsgi') return { kind: 'command', command: rackup + shellWord(command), directory: '' };
  return { kind: 'command', command, directory: '' };
}

/** Factories such as `app:create_app("x")` have characters that a shell would take for its own. */
function shellWord(text: string): string {
  return /^[\w.:/-]+$/.test(text) ? text : `'${text.replaceAll(`'`, `'\\''`)}'`;
}

function isInside(directory: string): boolean {
  return !directory.trim().startsWith('/') && !directory.trim().split('/').includes('..');
}
