import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { InstanceId } from '../model/ids.ts';
import type { Endpoint } from '../model/node-promise.ts';
import type { UnitExit } from '../model/reconciliation.ts';
import type { Log } from '../ports/log.ts';

/** What every driver keeps on file of a unit, so that a driver made anew knows it. */
export interface UnitRecord {
  v: 1;
  unit: string;
  instance: InstanceId;
  release: number;
  version: string;
  endpoint: Endpoint | null;
  exit: UnitExit | null;
  guarded?: boolean;
}

export interface UnitRecords<R extends UnitRecord> {
  /** All that can be read; what can't is logged and removed, because it can never be told what it was. */
  load(): R[];
  /** Whole or not at all, as far as this process's death is concerned. */
  save(record: R): void;
  /** For a change that has happened all the same: a failure is logged, and a driver made anew misses the details. */
  note(record: R): void;
  remove(unit: string): void;
}

/**
 * One JSON file a unit in `directory`, readable by this user only. Not flushed to the disk: only a crash of the
 * machine could lose them, and that ends the units as well.
 */
export function unitRecords<R extends UnitRecord>(directory: string, log: Log): UnitRecords<R> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const fileOf = (unit: string): string => join(directory, `${encodeURIComponent(unit)}.json`);

  return {
    load,
    save,
    note(record) {
      try {
        save(record);
      } catch (error) {
        log.error('change of a unit can not be put on file', { unit: record.unit, error });
      }
    },
    remove(unit) {
      rmSync(fileOf(unit), { force: true });
    },
  };

  function load(): R[] {
    const records: R[] = [];
    for (const name of readdirSync(directory)) {
      const file = join(directory, name);
      if (!name.endsWith('.json')) {
        rmSync(file, { force: true });
        continue;
      }
      try {
        records.push(parse(readFileSync(file, 'utf8')) as R);
      } catch (error) {
        log.error('record of a unit can not be read and is dropped', { file, error });
        rmSync(file, { force: true });
      }
    }
    return records;
  }

  function save(record: R): void {
    const file = fileOf(record.unit);
    writeFileSync(`${file}.tmp`, JSON.stringify(record), { mode: 0o600 });
    renameSync(`${file}.tmp`, file);
  }
}

function parse(text: string): UnitRecord {
  const record = JSON.parse(text) as Partial<UnitRecord> | null;
  if (record?.v !== 1 || typeof record.unit !== 'string') throw new Error('not a unit record of version 1');
  return record as UnitRecord;
}
