import { access, chmod, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from './run-command.ts';

const INSTALL_MS = 600_000;
const POLICY_MARK = '# hop3-agent: no service starts while its package is being installed.';

export interface RootInstall {
  package: string;
  /** Its stock service, kept from starting now and at boot; null when it has none. */
  service: string | null;
  env: Record<string, string>;
  signal: AbortSignal | undefined;
  /** Debian's hook that may forbid starting services (invoke-rc.d(8)). */
  policyFile?: string;
  initDirectory?: string;
}

/** `apt-get install`, with the package's stock service neither started nor enabled. @throws CommandError */
export async function installAsRoot(options: RootInstall): Promise<void> {
  const policyFile = options.policyFile ?? '/usr/sbin/policy-rc.d';
  const env = { ...options.env, DEBIAN_FRONTEND: 'noninteractive' };
  // Taken as a last word: killing apt half-way would leave packages unconfigured.
  const run = (label: string, args: string[]) =>
    runCommand('apt-get', ['-o', 'DPkg::Lock::Timeout=120', ...args], {
      label: `apt-get ${label}`,
      env,
      timeoutMs: INSTALL_MS,
    });
  await restorePolicy(policyFile);
  await forbidServices(policyFile);
  try {
    await run('update', ['update']);
    options.signal?.throwIfAborted();
    await run(`install ${options.package}`, [
      ...['-o', 'Dpkg::Options::=--force-confold'],
      ...['install', '--yes', '--no-install-recommends', options.package],
    ]);
    if (options.service !== null)
      await disableService(options.service, options.initDirectory ?? '/etc/init.d', env);
  } finally {
    await restorePolicy(policyFile);
  }
}

async function forbidServices(policyFile: string): Promise<void> {
  await rename(policyFile, savedFile(policyFile)).catch(ignoreMissing);
  await writeFile(policyFile, `#!/bin/sh\n${POLICY_MARK}\nexit 101\n`);
  await chmod(policyFile, 0o755);
}

/** Also mends what an agent that was killed in the middle left behind. */
async function restorePolicy(policyFile: string): Promise<void> {
  const text = await readFile(policyFile, 'utf8').catch(() => '');
  if (text.includes(POLICY_MARK)) await rm(policyFile);
  await rename(savedFile(policyFile), policyFile).catch(ignoreMissing);
}

async function disableService(
  service: string,
  initDirectory: string,
  env: Record<string, string>,
): Promise<void> {
  const hasInitScript = await access(join(initDirectory, service)).then(
    () => true,
    () => false,
  );
  // update-rc.d tells systemd as well where there is one.
  if (hasInitScript) await runCommand('update-rc.d', [service, 'disable'], { env, timeoutMs: 60_000 });
}

function savedFile(policyFile: string): string {
  return `${policyFile}.before-hop3-agent`;
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
