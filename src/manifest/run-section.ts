import { declare, staticSite, type Declared, type Entry } from './processes.ts';
import { processNamePattern } from './words.ts';
import { listAt, tableAt, valueAt, type Finding, type Path } from './tree.ts';

interface RunEntry extends Entry {
  path: Path;
}

/** What `[build]` and `[run]` say is to be run, of either format. Skips what the schema refuses anyway. */
export function declaredIn(data: unknown): { declared: Declared; findings: Finding[] } {
  const entries: RunEntry[] = [];
  const start = commandsAt(data, ['run', 'start']);
  if (start.some(command => command.trim() !== ''))
    entries.push({ kind: 'web', command: start.join(' && '), path: ['run', 'start'] });
  for (const [kind, command] of Object.entries(tableAt(data, 'run', 'workers'))) {
    // The schema refuses the others, in its own words.
    const isRead = typeof command === 'string' && command.trim() !== '' && processNamePattern.test(kind);
    if (isRead) entries.push({ kind, command, path: ['run', 'workers', kind] });
  }
  const { declared, problems } = declare(entries);
  const findings = problems.map(({ entry, message, hint }) => ({
    path: entry.path,
    part: 'value' as const,
    message,
    hint,
  }));
  const own = {
    beforeBuild: commandsAt(data, ['build', 'before-build']),
    build: commandsAt(data, ['build', 'build']),
    afterBuild: commandsAt(data, ['build', 'after-build']),
    beforeRun: commandsAt(data, ['run', 'before-run']),
  };
  const { hooks } = declared;
  const directory = valueAt(data, ['build', 'static-dir']);
  const isSite = declared.web === null || declared.web.kind === 'static';
  return {
    declared: {
      ...declared,
      web: typeof directory === 'string' && isSite ? staticSite(directory) : declared.web,
      hooks: {
        beforeBuild: own.beforeBuild.length > 0 ? own.beforeBuild : hooks.beforeBuild,
        build: own.build.length > 0 ? own.build : hooks.build,
        afterBuild: own.afterBuild.length > 0 ? own.afterBuild : hooks.afterBuild,
        beforeRun: own.beforeRun.length > 0 ? own.beforeRun : hooks.beforeRun,
      },
    },
    findings,
  };
}

/** A static site without a word about its directory is served from `public`. */
export function withDefaultSite(data: unknown, declared: Declared): Declared {
  const isSite = valueAt(data, ['build', 'toolchain']) === 'static' && declared.web === null;
  return isSite ? { ...declared, web: staticSite('public') } : declared;
}

function commandsAt(data: unknown, path: Path): string[] {
  const value = valueAt(data, path);
  if (typeof value === 'string') return [value];
  return listAt(data, ...path).filter(command => typeof command === 'string');
}
