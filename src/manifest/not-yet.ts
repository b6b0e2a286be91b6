import type { AppSpec } from '../model/app-spec.ts';

/**
 * Everything that the format and the model have and that this version cannot keep yet, in one place: remove an entry
 * when it can.
 */

export interface NotYet {
  field: string;
  message: string;
  hint: string | null;
}

const guard = 'the ownership guard, which this version does not have yet';
const exclusive = {
  message: `exclusive process types need ${guard}`,
  hint: 'leave it out for processes of which two may run for a short while',
};

/** Sections of a manifest that are refused when it is read. */
export const refusedSections: ReadonlyMap<string, { message: string; hint: string | null }> = new Map([
  ['exclusive', exclusive],
]);

/** Parts of a spec that are read, and refused when it is applied. */
export function notYet(spec: AppSpec): NotYet[] {
  const found: NotYet[] = [];
  if (spec.volumes.length > 0) {
    const message = `a volume makes its app exclusive, and that needs ${guard}`;
    found.push({ field: 'volumes', message, hint: 'keep the data in a service that the app connects to' });
  }
  if (spec.ports.length > 0) {
    const message = `a fixed port makes its app exclusive, and that needs ${guard}`;
    found.push({ field: 'ports', message, hint: 'HTTP apps listen on $PORT and need none' });
  }
  const isTied = spec.volumes.length > 0 || spec.ports.length > 0;
  if (!isTied && spec.processes.some(process => process.exclusive)) {
    found.push({ field: 'exclusive', ...exclusive });
  }
  if (spec.crons.length > 0) {
    const message = 'scheduled commands need the workflow engine, which this version does not have yet';
    found.push({ field: 'run.workers', message, hint: 'let a worker keep the time itself' });
  }
  if (spec.deploy.strategy !== 'rolling') {
    found.push({
      field: 'deploy.strategy',
      message: `${spec.deploy.strategy} is not available yet`,
      hint: 'rolling is',
    });
  }
  return found;
}
