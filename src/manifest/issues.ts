import { z } from 'zod';
import { nearest, suggestion } from './nearest.ts';
import { shown, type Finding, type Path } from './tree.ts';

type Schema = z.core.$ZodType;
type Issue = z.core.$ZodIssue;

const UNKNOWN_KEY = 'unknown key';

/** Everything that a schema finds wrong with a tree of data, in the words of whoever wrote it. */
export function findingsOf(schema: Schema, data: unknown): Finding[] {
  const result = z.safeParse(schema, data, { reportInput: true });
  return result.success ? [] : explained(schema, result.error, 'unknown section');
}

/** The same of what was found already, with `reportInput`; of a key at the root that is none it is said what it is. */
export function explained(schema: Schema, error: z.core.$ZodError, unknownAtRoot: string): Finding[] {
  const findings = error.issues.flatMap(issue => explain(schema, issue, []));
  return findings.map(finding =>
    isUnknownAtRoot(finding) ? { ...finding, message: unknownAtRoot } : finding,
  );
}

function explain(schema: Schema, issue: Issue, base: Path): Finding[] {
  const path: Path = [...base, ...issue.path.map(part => (typeof part === 'number' ? part : String(part)))];
  const hint = descriptionAt(schema, path);
  const value = (message: string, better: string | null = hint): Finding[] => [
    { path, part: 'value', message, hint: better },
  ];
  if (issue.input === undefined && path.length > 0)
    return [{ path, part: 'key', message: 'is missing', hint }];
  if (issue.input === null) return value('has no value', hint ?? 'give it one, or remove the key');
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map(key => unknownKey(schema, path, key));
    case 'invalid_type':
      return value(`must be ${typeWord(issue.expected)}, not ${shown(issue.input)}`);
    case 'invalid_value': {
      const known = issue.values.map(String);
      const close = typeof issue.input === 'string' ? nearest(issue.input, known) : null;
      const message = `must be ${oneOf(known)}, not ${shown(issue.input)}`;
      return value(message, close === null ? hint : `did you mean "${close}"?`);
    }
    case 'too_small':
      return value(
        issue.origin === 'number' || issue.origin === 'int' ? tooSmall(issue) : 'must not be empty',
      );
    case 'too_big':
      return value(`must be at most ${issue.maximum}, not ${shown(issue.input)}`);
    case 'invalid_union':
      return explainUnion(schema, issue, path);
    case 'invalid_key': {
      const own = issue.issues[0]?.message ?? 'is not a name that can be used here';
      return [{ path, part: 'key', message: own, hint: keyDescriptionAt(schema, path.slice(0, -1)) }];
    }
    case 'invalid_format':
    case 'invalid_element':
    case 'not_multiple_of':
    case 'custom':
      return value(issue.message);
  }
}

/** The branch that was meant is the one whose keys were used; when none was, the union speaks for itself. */
function explainUnion(schema: Schema, issue: z.core.$ZodIssueInvalidUnion, path: Path): Finding[] {
  const keys = typeof issue.input === 'object' && issue.input !== null ? Object.keys(issue.input).length : 0;
  const meant = issue.errors
    .map(errors => ({ errors, unknown: errors.flatMap(rootKeys).length }))
    .filter(({ errors }) => !errors.some(isWrongType))
    .filter(({ unknown }) => unknown === 0 || unknown < keys)
    .sort((a, b) => a.unknown - b.unknown || a.errors.length - b.errors.length)[0];
  if (meant !== undefined) return meant.errors.flatMap(error => explain(schema, error, path));
  const message = issue.message === 'Invalid input' ? `cannot be ${shown(issue.input)}` : issue.message;
  return [{ path, part: 'value', message, hint: descriptionAt(schema, path) }];
}

function rootKeys(issue: Issue): string[] {
  return issue.code === 'unrecognized_keys' && issue.path.length === 0 ? issue.keys : [];
}

function isWrongType(issue: Issue): boolean {
  return issue.code === 'invalid_type' && issue.path.length === 0;
}

function unknownKey(schema: Schema, path: Path, key: string): Finding {
  const here = nearest(key, keysAt(schema, path));
  const elsewhere = here === null ? pathOfKey(schema, key) : null;
  const hint = elsewhere === null ? suggestion(key, keysAt(schema, path)) : `did you mean "${elsewhere}"?`;
  return { path: [...path, key], part: 'key', message: UNKNOWN_KEY, hint };
}

function isUnknownAtRoot({ path, message }: Finding): boolean {
  return path.length === 1 && message === UNKNOWN_KEY;
}

/** Where a key of this very name exists one level down, as `run.workers` for `workers`. */
function pathOfKey(schema: Schema, key: string): string | null {
  const section = keysAt(schema, []).find(name => keysAt(schema, [name]).includes(key));
  return section === undefined ? null : `${section}.${key}`;
}

function keysAt(schema: Schema, path: Path): string[] {
  return [
    ...new Set(
      schemasAt(schema, path).flatMap(at => (at instanceof z.ZodObject ? Object.keys(at.shape) : [])),
    ),
  ];
}

function descriptionAt(schema: Schema, path: Path): string | null {
  const [found] = schemasAt(schema, path).flatMap(at => z.globalRegistry.get(at)?.description ?? []);
  return found ?? null;
}

function keyDescriptionAt(schema: Schema, path: Path): string | null {
  const record = schemasAt(schema, path).find(at => at instanceof z.ZodRecord);
  return record === undefined ? null : descriptionAt(record.keyType, []);
}

/** The schemas that speak about a path, outermost first: an optional, what it wraps, the branches of a union. */
function schemasAt(schema: Schema, path: Path): Schema[] {
  if (schema instanceof z.ZodOptional) return [...own(schema, path), ...schemasAt(schema.unwrap(), path)];
  if (schema instanceof z.ZodUnion) {
    return [...own(schema, path), ...schema.options.flatMap(option => schemasAt(option, path))];
  }
  const [first, ...rest] = path;
  if (first === undefined) return [schema];
  if (schema instanceof z.ZodObject) {
    const shape = schema.shape as Record<string, Schema>;
    const next = Object.hasOwn(shape, first) ? shape[first] : schema.def.catchall;
    return next === undefined ? [] : schemasAt(next, rest);
  }
  if (schema instanceof z.ZodRecord) return schemasAt(schema.valueType, rest);
  if (schema instanceof z.ZodArray) return schemasAt(schema.element, rest);
  return [];
}

function own(schema: Schema, path: Path): Schema[] {
  return path.length === 0 ? [schema] : [];
}

function typeWord(expected: string): string {
  const words: Record<string, string> = {
    string: 'text',
    number: 'a number',
    int: 'a whole number',
    boolean: 'true or false',
    object: 'a table of keys and values',
    record: 'a table of keys and values',
    array: 'a list',
  };
  return words[expected] ?? expected;
}

function oneOf(words: readonly string[]): string {
  return words.length === 1 ? (words[0] ?? '') : `one of ${words.join(', ')}`;
}

function tooSmall(issue: z.core.$ZodIssueTooSmall): string {
  const bound = issue.inclusive === false ? 'more than' : 'at least';
  return `must be ${bound} ${issue.minimum}, not ${shown(issue.input)}`;
}
