import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What systemd puts into a unit's environment by itself, and Hop3's contract with a process does not know. */
const FROM_SYSTEMD = [
  ...['HOME', 'LANG', 'LOGNAME', 'PATH', 'SHELL', 'USER', 'INVOCATION_ID', 'JOURNAL_STREAM'],
  ...['SYSTEMD_EXEC_PID', 'MEMORY_PRESSURE_WATCH', 'MEMORY_PRESSURE_WRITE'],
];
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

export interface EnvironmentFile {
  /** For systemd-run. */
  properties: string[];
  /** systemd reads it when it starts the command, and never again. */
  remove(): void;
}

/**
 * Hands the environment over in a file that only root can read: in a property, everybody who may ask systemd would see
 * the secrets in it. @throws Error for a name that systemd would leave out
 */
export function environmentFile(
  directory: string,
  unit: string,
  env: Record<string, string>,
): EnvironmentFile {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const file = join(directory, encodeURIComponent(unit));
  const unset = FROM_SYSTEMD.filter(name => env[name] === undefined);
  writeFileSync(file, environmentText(env), { mode: 0o600 });
  return {
    properties: [`EnvironmentFile=${file}`, `UnsetEnvironment=${unset.join(' ')}`],
    remove: () => rmSync(file, { force: true }),
  };
}

/** As `EnvironmentFile=` reads it: in double quotes everything stands for itself but four characters. */
export function environmentText(env: Record<string, string>): string {
  return Object.entries(env)
    .map(([name, value]) => {
      if (!NAME.test(name)) {
        throw new Error(
          `"${name}" can't be the name of a variable: letters, digits and _, and no digit first`,
        );
      }
      return `${name}="${value.replaceAll(/["\\`$]/g, '\\$&')}"\n`;
    })
    .join('');
}
