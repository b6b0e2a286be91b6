import type { z } from 'zod';

/**
 * What is left of a value when all that has the wrong shape is taken out of it, so that the rest can be looked at, too; null = not
 * enough is left.
 */
export function salvaged<S extends z.ZodType>(
  schema: S,
  value: unknown,
  error: z.ZodError,
): z.output<S> | null {
  const left = structuredClone(value);
  for (const issue of error.issues) {
    const isText = issue.code === 'invalid_type' && issue.expected === 'string';
    const keys = issue.code === 'unrecognized_keys' ? issue.keys : [null];
    for (const key of keys) takeOut(left, key === null ? issue.path : [...issue.path, key], isText);
  }
  const again = schema.safeParse(left);
  return again.success ? again.data : null;
}

/** Text is made empty, so that what must be there is. Of a list all goes: what follows in it would get another place. */
function takeOut(value: unknown, path: readonly PropertyKey[], isText: boolean): void {
  const last = path.at(-1);
  let at = value;
  for (const key of path.slice(0, -1)) at = isObject(at) ? at[key] : undefined;
  if (last === undefined || !isObject(at)) return;
  if (Array.isArray(at)) takeOut(value, path.slice(0, -1), false);
  else if (isText) at[last] = '';
  else Reflect.deleteProperty(at, last);
}

function isObject(value: unknown): value is Record<PropertyKey, unknown> {
  return typeof value === 'object' && value !== null;
}
