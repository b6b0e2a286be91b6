/**
 * A process of its own that tries to start programs while it has no descriptor left, and once more when it has. It says as JSON
 * what came of each.
 */
import { closeSync, openSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { runCommand as runBuildCommand, shellCommand } from '../../src/artifacts/command.ts';
import { outputFilesFor } from '../../src/drivers/output-files.ts';
import { spawner } from '../../src/drivers/spawner.ts';
import { newestEntries } from '../../src/drivers/systemd-journal.ts';
import { runCommand } from '../../src/platform/run-command.ts';
import { clock, launch } from '../drivers/helpers.ts';

const [directory = tmpdir()] = process.argv.slice(2);
const env = { PATH: process.env['PATH'] ?? '' };
const { signal } = new AbortController();
const spawns = spawner();
const files = outputFilesFor(directory, 'unit', clock.timestamp());
const tries: Record<string, () => Promise<unknown>> = {
  unit: async () => (await spawns.spawn(launch({ directory }), files, undefined)).shut(),
  tool: () => runCommand('true', [], { env, timeoutMs: 60_000 }),
  build: () =>
    runBuildCommand(
      shellCommand('true', { directory, env, timeoutSeconds: 60 }),
      clock,
      () => undefined,
      signal,
    ),
  journal: () => newestEntries({ uid: 0, identifiers: [] }, { count: 1, signal }),
};

const without = await withoutDescriptors(tryAll);
process.stdout.write(JSON.stringify({ without, with: await tryAll() }));
spawns.close();

async function withoutDescriptors<T>(work: () => Promise<T>): Promise<T> {
  const held: number[] = [];
  try {
    for (;;) held.push(openSync('/dev/null', 'r'));
  } catch {
    return await work();
  } finally {
    held.forEach(closeSync);
  }
}

async function tryAll(): Promise<Record<string, string>> {
  const all: Record<string, string> = {};
  for (const [name, run] of Object.entries(tries)) {
    all[name] = await run().then(
      () => 'started',
      (error: unknown) => (error as Error).message,
    );
  }
  return all;
}
