import { stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { readAppFiles, sourceFacts } from '../../artifacts/pack.ts';
import { completeProcesses } from '../../manifest/complete-processes.ts';
import { manifestText } from '../../manifest/manifest-text.ts';
import { appFilePaths, readAppDirectory } from '../../manifest/read-app-directory.ts';
import type { AppSpec } from '../../model/app-spec.ts';
import { problemText, type Problem } from '../../model/problem.ts';
import type { CommandContext } from '../context.ts';
import { CliFailure, EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import { scalesText } from './process-words.ts';

export async function init(context: CommandContext, call: Invocation): Promise<number> {
  const { io, out } = context;
  const shown = call.optionalArgument(0) ?? '.';
  const directory = context.path(shown);
  // What is not there is told like by every other command.
  await stat(directory);
  const output = call.text('output');
  const { files, hasManifest } = await filesOf(directory);
  if (hasManifest && !call.flag('force')) {
    const isThere = `${join(shown, 'hop3.yaml')} is there already`;
    if (output === null) throw conflict(isThere, '--force starts from the other files, as if it was not');
    out.note(`${isThere}: this is from the other files, as if it was not`);
  }
  const spec = await readSpec(context, directory, shown, files);
  const target = output === null ? join(directory, defaultName(spec, files)) : context.path(output);
  const text = manifestText(withSource(spec, output === '-' ? io.cwd : dirname(target), directory));
  if (output === '-') {
    out.answer({ file: null, manifest: text }, () => text);
    return EXIT.ok;
  }
  await write(target, text, call.flag('force'));
  const named = relative(io.cwd, target);
  out.answer(
    { file: target, manifest: text },
    () => `${named}: ${spec.app} (${scalesText(spec)}); hop3-agent apply ${named} runs it\n`,
  );
  return EXIT.ok;
}

/** Without a manifest of ours: what is to be written cannot be what it is written from. */
async function filesOf(directory: string): Promise<{ files: Record<string, string>; hasManifest: boolean }> {
  const all = Object.entries(await readAppFiles(directory, appFilePaths));
  const files = Object.fromEntries(all.filter(([name]) => !name.endsWith('.yaml')));
  return { files, hasManifest: Object.keys(files).length < all.length };
}

async function readSpec(
  { out }: CommandContext,
  directory: string,
  shown: string,
  files: Record<string, string>,
): Promise<AppSpec> {
  const read = readAppDirectory(files, { directoryName: basename(directory) });
  const { spec, webSettings } = read;
  const inPlace = (problem: Problem): Problem => ({ ...problem, file: join(shown, problem.file) });
  if (spec === null) {
    throw new CliFailure(EXIT.failed, `nothing was written: ${shown} has problems to solve first`, {
      problems: read.problems.map(inPlace),
      sources: new Map(Object.entries(files).map(([name, text]) => [join(shown, name), text])),
    });
  }
  for (const problem of read.unsupported) {
    out.note(`${out.paint.yellow('warning')}: ${problemText(inPlace(problem))}; it is left out`);
  }
  return completeProcesses(spec, await sourceFacts(directory), webSettings);
}

/** A directory has hop3.yaml or hop3.toml, not both; beside the latter, the manifest is named after its app. */
function defaultName(spec: AppSpec, files: Record<string, string>): string {
  return Object.keys(files).some(name => name.endsWith('.toml')) ? `${spec.app}.yaml` : 'hop3.yaml';
}

function withSource(spec: AppSpec, folder: string, directory: string): AppSpec {
  const path = relative(folder, directory);
  return { ...spec, source: { kind: 'path', path: path === '' ? '.' : path } };
}

async function write(file: string, text: string, replace: boolean): Promise<void> {
  try {
    await writeFile(file, text, { flag: replace ? 'w' : 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw conflict(`${file} is there already`, '--force replaces it');
  }
}

function conflict(message: string, hint: string): CliFailure {
  return new CliFailure(EXIT.conflict, message, { hint });
}
