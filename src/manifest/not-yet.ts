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

/** Parts of a spec that are read, and refused when it is applied. */
export function notYet(spec: AppSpec): NotYet[] {
  const found: NotYet[] = [];
  if (spec.volumes.length > 0) {
    const message = 'volumes are not in this version yet';
    found.push({ field: 'volumes', message, hint: 'keep the data in a service that the app connects to' });
  }
  for (const { type, kind, exclusive } of spec.processes) {
    if (!exclusive || kind !== 'static') continue;
    const message = `"${type}" serves static files: it has no process that could be exclusive`;
    found.push({ field: 'exclusive', message, hint: 'leave it out: two nodes may serve the same files' });
  }
  return found;
}
