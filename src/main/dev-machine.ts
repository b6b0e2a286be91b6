import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { CliFailure, EXIT } from '../cli/failure.ts';
import { readManifest } from '../manifest/read-manifest.ts';
import { portHolder } from '../platform/port-holder.ts';
import { endProcess, findProcess } from '../platform/processes.ts';
import { findOnPath } from '../platform/tools.ts';
import type { Clock } from '../ports/clock.ts';
import { configFile, PEER_PORT_ABOVE, RPC_PORT_ABOVE } from './dev-node.ts';

/** An agent told to hand over needs no more than this. */
const HAND_OVER_MS = 10_000;
/** What a start command may begin with that no build brings along, and the Debian package that has it. */
const RUNTIMES: Readonly<Record<string, string>> = {
  python3: 'python3',
  ruby: 'ruby',
  php: 'php-cli',
  java: 'default-jre-headless',
};

/** Agents whose `dev` was killed before it could stop them would keep their ports; the new ones adopt their apps. */
export async function endLeftovers(stateDir: string, nodes: readonly string[], clock: Clock): Promise<void> {
  for (const node of nodes) {
    const config = configFile(join(stateDir, node));
    const left = await findProcess(argv => argv.includes('run') && argv.includes(config));
    if (left !== null) await endProcess(left.id, HAND_OVER_MS, clock);
  }
}

/** @throws CliFailure naming a port the nodes need, and who has it */
export async function requireApiPorts(nodes: readonly string[], apiPort: number): Promise<void> {
  for (const [index, node] of nodes.entries()) {
    for (const [use, port] of [
      ['admin API', apiPort + index],
      ['peers', apiPort + index + PEER_PORT_ABOVE],
      ['gRPC', apiPort + index + RPC_PORT_ABOVE],
    ] as const) {
      const holder = await portHolder(port);
      if (holder === null) continue;
      throw new CliFailure(EXIT.conflict, `port ${port}, for the ${use} of ${node}, is taken by ${holder}`, {
        hint: 'end that, or give --api-port another number',
      });
    }
  }
}

/**
 * The manifests whose apps this machine has the programs for, and, for each of the others, why not. What can't be read
 * is left to `apply`, which says what is wrong with it.
 */
export async function runnableHere(
  files: readonly string[],
  searchPath: string | undefined,
): Promise<{ files: string[]; leftOut: string[] }> {
  const runnable: string[] = [];
  const leftOut: string[] = [];
  for (const file of files) {
    const missing = await missingRuntime(file, searchPath);
    if (missing === null) runnable.push(file);
    else leftOut.push(missing);
  }
  return { files: runnable, leftOut };
}

async function missingRuntime(file: string, searchPath: string | undefined): Promise<string | null> {
  const text = await readFile(file, 'utf8').catch(() => null);
  if (text === null) return null;
  for (const { spec } of readManifest(file, text).apps) {
    for (const { command, kind } of spec.processes) {
      const program = command.split(' ')[0] ?? '';
      const debianPackage = RUNTIMES[program];
      if (kind !== 'command' || debianPackage === undefined) continue;
      if ((await findOnPath(program, searchPath)) !== null) continue;
      return (
        `${basename(file)} is left out: ${spec.app} is started with ${program}, which this machine lacks ` +
        `(apt-get install ${debianPackage})`
      );
    }
  }
  return null;
}
