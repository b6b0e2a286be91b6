const SECRET_WORDS = new Set(
  'authorization cookie password passwd passphrase secret secrets token tokens credential credentials'.split(
    ' ',
  ),
);
/** `key` is secret only after one of these: most keys here are those of the store. */
const SECRET_KEY_WORDS = new Set('private secret api access master session signing encryption'.split(' '));
/** The fencing token is no secret; it is logged under this name because `token` is what API tokens are called. */
const NOT_SECRET = new Set(['fencingToken', 'HOP3_FENCING_TOKEN']);
/** `scheme://user:password@host` */
const URL_PASSWORD = /\b([a-z][a-z0-9+.-]*:\/\/[^\s/:@]*):[^\s/@]+@/gi;
const DEPTH_MAX = 10;

/**
 * A copy that JSON can hold: what a secret's name says is hidden, passwords in URLs are masked, Errors keep
 * code, cause and own fields, and bigint, cycles, Maps, Sets and binary data have a text form. Never throws.
 */
export function redacted(value: unknown): unknown {
  return clean(value, new Set(), 0);
}

function clean(value: unknown, above: Set<object>, depth: number): unknown {
  if (typeof value === 'string') return value.replace(URL_PASSWORD, '$1:[redacted]@');
  if (typeof value === 'bigint' || typeof value === 'symbol') return value.toString();
  if (typeof value === 'function') return `[function ${value.name}]`;
  if (value === null || typeof value !== 'object') return value;
  if (above.has(value)) return '[circular]';
  if (depth >= DEPTH_MAX) return '[too deep]';
  above.add(value);
  try {
    return cleanObject(value, inner => clean(inner, above, depth + 1));
  } catch (error) {
    // A getter or toISOString of somebody else's object threw; a log line must not fail for that.
    return `[unreadable: ${String(error)}]`;
  } finally {
    above.delete(value);
  }
}

function cleanObject(value: object, inner: (value: unknown) => unknown): unknown {
  if (value instanceof Error) return cleanFields(errorFields(value), inner);
  if (value instanceof Date) return value.toISOString();
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (Array.isArray(value)) return value.map(inner);
  if (value instanceof Set) return [...value].map(inner);
  if (value instanceof Map) {
    return cleanFields(
      [...value].map(([name, entry]): [string, unknown] => [String(name), entry]),
      inner,
    );
  }
  return cleanFields(Object.entries(value), inner);
}

function errorFields(error: Error): [string, unknown][] {
  return [
    ['name', error.name],
    ['message', error.message],
    ...Object.entries(error).filter(([name]) => name !== 'name' && name !== 'message'),
    ...(error.cause === undefined ? [] : [['cause', error.cause] satisfies [string, unknown]]),
    ...(error instanceof AggregateError ? [['errors', error.errors] satisfies [string, unknown]] : []),
    ['stack', error.stack],
  ];
}

function cleanFields(
  fields: [string, unknown][],
  inner: (value: unknown) => unknown,
): Record<string, unknown> {
  return Object.fromEntries(
    fields.map(([name, value]) => [name, isSecret(name) ? '[redacted]' : inner(value)]),
  );
}

function isSecret(name: string): boolean {
  if (NOT_SECRET.has(name)) return false;
  const words = name
    .replace(/([a-z0-9])(?=[A-Z])/g, '$1 ')
    .toLowerCase()
    .split(/[^a-z0-9]+/);
  const last = words.at(-1) ?? '';
  return SECRET_WORDS.has(last) || (last === 'key' && SECRET_KEY_WORDS.has(words.at(-2) ?? ''));
}
