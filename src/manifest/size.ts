import type { Problem } from '../model/problem.ts';

const largestBytes = 1024 * 1024;
/** No manifest is nested deeper; the parsers recurse, and a text of brackets alone could end the process. */
export const deepest = 100;

/** One problem when the text is too big to be a manifest, else nothing. */
export function tooLarge(file: string, text: string): Problem[] {
  // Cheap first: a string has at least a byte for each of its units.
  if (text.length <= largestBytes && new TextEncoder().encode(text).length <= largestBytes) return [];
  return [
    whole(file, 'is larger than 1 MiB', 'a manifest describes an app; its data belongs into the source'),
  ];
}

export function tooDeep(file: string): Problem {
  return whole(file, `is nested deeper than ${deepest} levels`, 'a manifest needs no more than six');
}

/** A problem with the file as a whole. */
export function whole(file: string, message: string, hint: string | null): Problem {
  return { file, line: 0, column: 0, field: '', message, hint };
}
