import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { WebInstance } from './web-instance.ts';

const PROGRAM = join(import.meta.dirname, 'vanishing-instance.pl');

/** A web instance on a machine that can go without a word: no packet of it is answered from then on, not even refused. */
export async function startVanishingInstance(
  name: string,
): Promise<WebInstance & { vanish(): Promise<void> }> {
  const child = spawn('perl', [PROGRAM, name], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [text] = (await once(child.stdout, 'data')) as [Buffer];
  return {
    name,
    endpoint: { host: '127.0.0.1', port: Number(text.toString()) },
    child,
    async vanish() {
      const gone = once(child.stdout, 'data');
      child.stdin.write('go\n');
      const [said] = (await gone) as [Buffer];
      if (said.toString() !== 'gone\n') throw new Error(`it can not vanish: ${said.toString().trim()}`);
    },
    async kill(signal) {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill(signal);
      await once(child, 'exit');
    },
  };
}

/** Why nothing can vanish on this machine; null = it can. */
export async function whyNothingVanishes(): Promise<string | null> {
  const instance = await startVanishingInstance('tried');
  const why = await instance.vanish().then(
    () => null,
    (error: unknown) => String(error),
  );
  await instance.kill('SIGKILL');
  return why;
}
