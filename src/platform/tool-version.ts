import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Tool } from './tool.ts';

const ANSWER_MS = 10_000;

/** Asks the program itself. @throws Error when it does not run, or is something else */
export async function toolVersion(tool: Tool, path: string): Promise<string> {
  const stdout = await answerOf(path, tool.version.arguments);
  const version = tool.version.answer.exec(stdout)?.[1];
  if (version === undefined) {
    const asked = [path, ...tool.version.arguments].join(' ');
    throw new Error(`${asked} does not look like ${tool.name}: ${stdout.slice(0, 80)}`);
  }
  return version;
}

/** Some tell their version and then fail because there is nothing to do: what was said counts. */
async function answerOf(path: string, args: string[]): Promise<string> {
  const options = { timeout: ANSWER_MS, env: { PATH: '/usr/bin:/bin' } };
  try {
    return (await promisify(execFile)(path, args, options)).stdout;
  } catch (error) {
    const { stdout = '' } = error as { stdout?: string };
    if (stdout === '') throw error;
    return stdout;
  }
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
