import type { AppSpec } from '../../model/app-spec.ts';
import { requireTool } from '../tools.ts';
import { has, hasFileEnding, quoted, type Toolchain } from './toolchain.ts';

const RUN_DIRECTORY = '.hop3/go';

/**
 * `go build` into `bin/<app>`. Without a go.mod the sources are built as they were before modules, which needs
 * nothing but the standard library. A process that says `go run TARGET` is built here, too: compiling at each start
 * would take minutes, and need Go and the network on every node.
 */
export const goToolchain: Toolchain = {
  name: 'go',
  recognises: async directory => (await has(directory, 'go.mod')) || (await hasFileEnding(directory, '.go')),
  async recipe(directory, spec, path) {
    await requireTool('go', path, 'a Go app');
    const modules: Record<string, string> = (await has(directory, 'go.mod')) ? {} : { GO111MODULE: 'off' };
    const targets = goRunTargets(spec);
    const own = spec.build.build;
    const commands = own.length > 0 || targets.length > 0 ? own : [await wholeBuild(directory, spec)];
    return {
      commands: [
        ...commands,
        ...targets.map((target, index) => `go build -o ${RUN_DIRECTORY}/run-${index} ${quoted(target)}`),
      ],
      env: modules,
      pathPrepend: targets.length > 0 ? ['bin', RUN_DIRECTORY] : ['bin'],
      runtimeEnv: modules,
      executables: targets.length > 0 ? { [`${RUN_DIRECTORY}/go`]: goThatRuns(targets) } : {},
    };
  },
};

/** What processes start with `go run`: one file or one package each; several files are left to Go itself. */
export function goRunTargets(spec: AppSpec): string[] {
  const found = spec.processes.flatMap(process =>
    [...process.command.matchAll(/(?:^|[\s;&|])go run ([\w./][\w./-]*)(?=$|[\s;&|])(?!\s+\S+\.go\b)/g)].map(
      match => match[1] ?? '',
    ),
  );
  return [...new Set(found)].toSorted();
}

async function wholeBuild(directory: string, spec: AppSpec): Promise<string> {
  return (await hasFileEnding(directory, '.go'))
    ? `go build -o bin/${spec.app} .`
    : 'mkdir -p bin && go build -o bin/ ./...';
}

/** Stands before Go on PATH: starts what was built from these targets, and leaves everything else to Go. */
function goThatRuns(targets: string[]): string {
  const cases = targets.map(
    (target, index) => `  ${quoted(`run ${target}`)}) shift 2; exec "$here/run-${index}" "$@" ;;`,
  );
  return [
    '#!/bin/sh',
    'here=$(cd "$(dirname "$0")" && pwd)',
    'case "$1 $2" in',
    ...cases,
    'esac',
    'PATH=$(printf %s "$PATH" | sed "s|$here:||g") exec go "$@"',
    '',
  ].join('\n');
}
