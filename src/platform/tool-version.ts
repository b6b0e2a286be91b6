import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

export type ToolName = 'etcd' | 'haproxy';

const ANSWER_MS = 10_000;
const questions: Readonly<Record<ToolName, { flag: string; answer: RegExp }>> = {
  etcd: { flag: '--version', answer: /^etcd Version: (\d+\.\d+\.\d+\S*)/m },
  haproxy: { flag: '-v', answer: /^HAProxy version (\d+\.\d+\.\d+)/m },
};

/** Asks the program itself. @throws Error when it does not run, or is something else */
export async function toolVersion(name: ToolName, path: string): Promise<string> {
  const { flag, answer } = questions[name];
  const { stdout } = await promisify(execFile)(path, [flag], {
    timeout: ANSWER_MS,
    env: { PATH: '/usr/bin:/bin' },
  });
  const version = answer.exec(stdout)?.[1];
  if (version === undefined)
    throw new Error(`${path} ${flag} does not look like ${name}: ${stdout.slice(0, 80)}`);
  return version;
}

/** Pre-release suffixes count as the release itself. */
export function atLeast(version: string, wanted: readonly [number, number, number]): boolean {
  const parts = version.split(/[.+~-]/).map(Number);
  for (const [index, number] of wanted.entries()) {
    const part = parts[index] ?? 0;
    if (part !== number) return part > number;
  }
  return true;
}

export function newer(version: string, than: string): boolean {
  const [major = 0, minor = 0, patch = 0] = than.split(/[.+~-]/).map(Number);
  return atLeast(version, [major, minor, patch + 1]);
}
