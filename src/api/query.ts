import { z } from 'zod';

/** A whole number in a query string. */
export function wholeNumber(most: number) {
  return z
    .string()
    .regex(/^\d{1,15}$/, 'must be a whole number')
    .transform(Number)
    .refine(value => value <= most, `must be at most ${most}`)
    .meta({ type: 'integer', minimum: 0, maximum: most });
}

type Given<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** The fields that were given, without those that are undefined. */
export function given<T extends object>(fields: T): Given<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Given<T>;
}
