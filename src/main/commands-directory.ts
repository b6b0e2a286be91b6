import { join } from 'node:path';

/** Where a node keeps what it runs under names: apart from its instances, whose driver must never meet it. */
export function commandsDirectory(stateDir: string): string {
  return join(stateDir, 'own');
}
