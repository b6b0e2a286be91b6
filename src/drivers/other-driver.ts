import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { bootId } from './proc.ts';
import { membersOf } from './process-group.ts';
import type { ProcessRecord } from './process-units.ts';
import { membersOfGroup } from './systemd-groups.ts';
import type { SystemdRecord } from './systemd-states.ts';
import type { UnitRecord } from './unit-records.ts';

type Kind = 'process' | 'systemd';

const OTHER: Record<Kind, { kind: Kind; mayLive: (record: UnitRecord) => boolean }> = {
  process: { kind: 'systemd', mayLive: record => systemdMayLive(record as SystemdRecord) },
  systemd: { kind: 'process', mayLive: record => processMayLive(record as ProcessRecord) },
};

/** Names of the units that the other driver of this node left, and may live: this one neither sees nor stops them. */
export function leftByOther(stateDir: string, own: Kind): { driver: Kind; units: string[] } {
  const { kind, mayLive } = OTHER[own];
  const thisBoot = bootId();
  const units = recordsIn(join(stateDir, 'units', kind))
    .filter(record => (record as UnitRecord & { bootId: string }).bootId === thisBoot && mayLive(record))
    .map(({ unit }) => unit);
  return { driver: kind, units };
}

function processMayLive(record: ProcessRecord): boolean {
  return membersOf(record, record.exit === null).length > 0;
}

/** Of one that was being started nothing is known. */
function systemdMayLive({ exit, main, group }: SystemdRecord): boolean {
  return group === null ? exit === null && main === null : membersOfGroup(group).length > 0;
}

/** Those that can be read: of others, their own driver knows no more. */
function recordsIn(directory: string): UnitRecord[] {
  return namesIn(directory).flatMap(name => {
    try {
      return [JSON.parse(readFileSync(join(directory, name), 'utf8')) as UnitRecord];
    } catch (error) {
      if (error instanceof SyntaxError) return [];
      throw error;
    }
  });
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory).filter(name => name.endsWith('.json'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
