/**
 * `npm run test:mutants`: takes the rules of ownership out of the code, one at a time, and demands that a test notices.
 * Works on a copy; a mutant is killed when the tests that pass without it fail.
 */
import { spawn } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { allMutants, timesFound } from './mutants/all.ts';
import type { Mutant } from './mutants/ownership.ts';
import { developersCommand } from './support/developers-command.ts';
import { pathWithTools } from './tools.ts';

const ROOT = join(import.meta.dirname, '..');
/** Tests that never end have noticed as well. */
const PATIENCE_MS = 180_000;

interface Verdict {
  passed: boolean;
  /** Titles of the tests that failed. */
  failing: string[];
}

const command = developersCommand(
  'test:mutants',
  'Takes rules out of the code, and demands that a test notices.',
)
  .argument('[part]', 'tries those with this in their names; all, without it')
  .parse();
const [asked = ''] = command.args;
const chosen = allMutants.filter(mutant => mutant.name.includes(asked));
if (chosen.length === 0) command.error(`error: no mutant has "${asked}" in its name`);
process.env['PATH'] = await pathWithTools();
const copy = await mkdtemp(join(tmpdir(), 'hop3-mutants-'));
let failed = 0;
try {
  for (const part of ['src', 'test', 'package.json', 'ava.config.js', 'tsconfig.json'])
    await cp(join(ROOT, part), join(copy, part), { recursive: true });
  await symlink(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
  const sound = new Map<string, boolean>();
  for (const mutant of chosen) {
    const suite = inWords(mutant.test);
    if (!sound.has(suite)) sound.set(suite, (await run(mutant.test)).passed);
    const complaint = sound.get(suite) ? await tryOut(mutant) : `${suite} fails without it, too`;
    if (complaint !== null) failed++;
    process.stdout.write(
      `${complaint === null ? 'ok' : 'not ok'} - ${mutant.name}${complaint ? `: ${complaint}` : ''}\n`,
    );
  }
} finally {
  await rm(copy, { recursive: true, force: true });
}
process.stdout.write(`${chosen.length - failed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;

/** Null when it was killed, else what is wrong. */
async function tryOut(mutant: Mutant): Promise<string | null> {
  const { file, search, replace, test } = mutant;
  const path = join(copy, file);
  const original = await readFile(path, 'utf8');
  const times = timesFound(mutant, original);
  if (times !== 1) return `${file} has its text ${times} times, not once`;
  await writeFile(
    path,
    original.replace(search, () => replace),
  );
  try {
    const { passed, failing } = await run(test);
    if (passed) return `it survived ${inWords(test)}`;
    process.stdout.write(
      failing
        .slice(0, 2)
        .map(title => `  # killed by: ${title}\n`)
        .join(''),
    );
    return null;
  } finally {
    await writeFile(path, original);
  }
}

function inWords(test: Mutant['test']): string {
  return typeof test === 'string' ? test : `${test.seeds} simulated seeds of mode ${test.mode ?? 'any'}`;
}

function seedsOf({ seeds, mode }: Exclude<Mutant['test'], string>): string[] {
  return ['--seeds', String(seeds), ...(mode === undefined ? [] : ['--mode', mode])];
}

function run(test: Mutant['test']): Promise<Verdict> {
  const [command, ...args] =
    typeof test === 'string'
      ? [join(copy, 'node_modules/.bin/ava'), '--tap', test]
      : [process.execPath, '--import=tsx', 'test/sim/main.ts', '--bail', ...seedsOf(test)];
  return new Promise(resolve => {
    const child = spawn(command, args, {
      cwd: copy,
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true,
    });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const timer = setTimeout(() => {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    }, PATIENCE_MS);
    child.on('close', code => {
      clearTimeout(timer);
      const failing = output.split('\n').filter(line => line.startsWith('not ok '));
      // Without one test that ran there is no verdict: then it counts as sound.
      const ran = failing.length > 0 || /^ok /m.test(output);
      resolve({
        passed: code === 0 || !ran,
        failing: failing.map(line => line.replace(/^not ok (\d+ )?- /, '')),
      });
    });
  });
}
