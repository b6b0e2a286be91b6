import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { Token } from '../model/ids.ts';

/** One file a unit that holds the fencing token its owner key has now (ownership rule 11), readable by whoever runs as anybody. */
export interface TokenFiles {
  /** Whole or not at all. Returns the file's absolute name. */
  write(unit: string, token: Token): string;
  remove(unit: string): void;
  /** Removes what units left that are not known any more. */
  keepOnly(units: readonly string[]): void;
}

export function tokenFiles(directory: string): TokenFiles {
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  const fileOf = (unit: string): string => join(directory, encodeURIComponent(unit));
  return {
    write(unit, token) {
      const file = fileOf(unit);
      writeFileSync(`${file}.tmp`, `${token}\n`);
      renameSync(`${file}.tmp`, file);
      return file;
    },
    remove: unit => rmSync(fileOf(unit), { force: true }),
    keepOnly(units) {
      const known = new Set(units.map(unit => encodeURIComponent(unit)));
      for (const name of readdirSync(directory)) if (!known.has(name)) rmSync(join(directory, name));
    },
  };
}
