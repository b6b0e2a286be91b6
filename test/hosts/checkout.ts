import { join } from 'node:path';
import { PATH, type HostOptions } from './host.ts';

const ROOT = join(import.meta.dirname, '../..');

/** What lets a host run what is in this checkout, at its path. */
export const CHECKOUT: NonNullable<HostOptions['binds']> = [{ from: ROOT, to: ROOT, writable: true }];

/**
 * A command in this checkout, with what npm installed on PATH: as a unit, found on that PATH by env, so that it may make
 * control groups and start units of its own. It ends with the command's exit code.
 */
export function inCheckout(command: string[], env: Record<string, string | undefined>): string[] {
  const unit = ['systemd-run', '--quiet', '--wait', '--pipe', '--collect', '--property=Delegate=yes'];
  const path = `${join(ROOT, 'node_modules/.bin')}:${PATH}`;
  const settings: typeof env = { HOME: '/root', PATH: path, ...env };
  return [
    ...unit,
    `--working-directory=${ROOT}`,
    ...Object.entries(settings).map(([name, value]) => `--setenv=${name}=${value ?? ''}`),
    ...['--', 'env', ...command],
  ];
}
