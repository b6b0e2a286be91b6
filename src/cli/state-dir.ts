import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where an agent keeps its state unless told otherwise: the system's place for root, the user's own for others. */
export function defaultStateDir(env: Readonly<Record<string, string | undefined>>): string {
  if (env['HOP3_AGENT_STATE_DIR']) return env['HOP3_AGENT_STATE_DIR'];
  if (process.getuid?.() === 0) return '/var/lib/hop3-agent';
  return join(env['XDG_STATE_HOME'] ?? join(homedir(), '.local/state'), 'hop3-agent');
}
