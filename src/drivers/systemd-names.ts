import { createHash } from 'node:crypto';

import { parseInstanceId, type InstanceId } from '../model/ids.ts';
import { groupPrefix } from './unit-limits.ts';

/** What the units, slices and users of one agent are called: agents with other state directories never meet them. */
export interface SystemdNames {
  /** Of everything that runs without a guard. */
  slice: string;
  /** Of what is guarded, within the other. */
  guardedSlice: string;
  /** The right to run anything that is guarded: while it is not active, nothing that needs it starts. */
  lease: string;
  /** The service of a unit; anything may be in the unit's name. */
  service(unit: string): string;
  /** For `systemctl`: every service of a unit. */
  services: string;
  guardTimer(id: string): string;
  guardTimers: string;
  /** Whom the instances of an app run as. */
  user(instance: InstanceId): string;
  /** By which the journal knows the output of a unit. */
  identifier(instance: InstanceId, unit: string): string;
  /** The unit of an identifier; null when it is not one of the instance. */
  unitOf(instance: InstanceId, identifier: string): string | null;
}

/** systemd allows 255, with the suffix. */
const LONGEST_NAME = 200;
/** What utmp holds. */
const LONGEST_USER = 31;

export function systemdNames(stateDir: string): SystemdNames {
  const prefix = groupPrefix(stateDir);
  const own = prefix.slice(0, -1);
  const identifierPrefix = (instance: InstanceId): string => `${own}:${instance}:`;
  return {
    slice: `${own}.slice`,
    guardedSlice: `${prefix}guarded.slice`,
    lease: `${prefix}lease.service`,
    service: unit => `${shortened(`${prefix}run-${escaped(unit)}`, LONGEST_NAME)}.service`,
    services: `${prefix}run-*.service`,
    guardTimer: id => `${prefix}guard-${id}.timer`,
    guardTimers: `${prefix}guard-*.timer`,
    user: instance => shortened(prefix + parseInstanceId(instance).app, LONGEST_USER),
    identifier: (instance, unit) => identifierPrefix(instance) + encodeURIComponent(unit),
    unitOf: (instance, identifier) =>
      identifier.startsWith(identifierPrefix(instance))
        ? decodeURIComponent(identifier.slice(identifierPrefix(instance).length))
        : null,
  };
}

/** As `systemd-escape` does, but leaves the hyphen, which means a path only in the names of slices and mounts. */
function escaped(unit: string): string {
  return [...Buffer.from(unit)]
    .map(byte => {
      const letter = String.fromCharCode(byte);
      return /[A-Za-z0-9:_.-]/.test(letter) ? letter : `\\x${byte.toString(16).padStart(2, '0')}`;
    })
    .join('');
}

/** What is too long keeps its beginning, and is told apart by a hash of the whole. */
function shortened(name: string, longest: number): string {
  if (name.length <= longest) return name;
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 8);
  return `${name.slice(0, longest - hash.length - 1)}-${hash}`;
}
