import type { Problem } from '../model/problem.ts';

export type Path = readonly (string | number)[];

/** Both 1-based. */
export interface Place {
  line: number;
  column: number;
}

/** A parsed document as plain data, and where in the text each part of it stands. */
export interface Tree {
  data: unknown;
  start: Place;
  /** Where a key or its value stands; the nearest ancestor's place when the path is not in the text. */
  placeOf(path: Path, part: 'key' | 'value'): Place;
  /** A scalar exactly as its author wrote it (`1.10`, not 1.1); null for anything else. */
  textOf(path: Path): string | null;
}

/** Something wrong at one path of a tree. */
export interface Finding {
  path: Path;
  part: 'key' | 'value';
  message: string;
  hint: string | null;
}

export type Table = Readonly<Record<string, unknown>>;

export function problemsOf(file: string, tree: Tree, findings: readonly Finding[]): Problem[] {
  return findings.map(({ path, part, message, hint }) => {
    const { line, column } = tree.placeOf(path, part);
    return { file, line, column, field: fieldOf(path), message, hint };
  });
}

/** `run.workers.mailer`, `ports[0].number`. */
export function fieldOf(path: Path): string {
  return path
    .map((part, i) => (typeof part === 'number' ? `[${part}]` : i === 0 ? part : `.${part}`))
    .join('');
}

/** The other way round; of a name that has a dot or a bracket in it, what comes before. */
export function pathOf(field: string): Path {
  const parts = field.match(/[^.[\]]+/g) ?? [];
  return parts.map(part => (field.includes(`[${part}]`) ? Number(part) : part));
}

export function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function valueAt(data: unknown, path: Path): unknown {
  let value = data;
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string | number, unknown>)[part];
  }
  return value;
}

/** The table at a path, or an empty one: for checks that must not stumble over what the schema refuses anyway. */
export function tableAt(data: unknown, ...path: Path): Table {
  const value = valueAt(data, path);
  return isTable(value) ? value : {};
}

/** The list at a path, or an empty one. */
export function listAt(data: unknown, ...path: Path): readonly unknown[] {
  const value = valueAt(data, path);
  return Array.isArray(value) ? value : [];
}

/** A value as a message can quote it, cut short. */
export function shown(value: unknown): string {
  if (typeof value === 'string')
    return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value);
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint')
    return String(value);
  if (value === null || value === undefined) return 'nothing';
  return Array.isArray(value) ? 'a list' : 'a table of keys and values';
}
