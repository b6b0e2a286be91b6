import type { Problem } from '../model/problem.ts';

const MEBIBYTE = 1024 * 1024;
/** Of a text that may hold plans: they have thousands of steps. */
export const largestWithPlans = 4 * MEBIBYTE;
/** No manifest is nested deeper; the parsers recurse, and a text of brackets alone could end the process. */
export const deepest = 100;

/** One problem when the text is too big to be a manifest, else nothing. */
export function tooLarge(file: string, text: string, largestBytes = MEBIBYTE): Problem[] {
  // Cheap first: a string has at least a byte for each of its units.
  if (text.length <= largestBytes && new TextEncoder().encode(text).length <= largestBytes) return [];
  const hint =
    largestBytes === MEBIBYTE
      ? 'a manifest describes an app; its data belongs into the source'
      : 'what an app needs belongs into its source, what a step is given into a payload-file';
  return [whole(file, `is larger than ${largestBytes / MEBIBYTE} MiB`, hint)];
}

export function tooDeep(file: string): Problem {
  return whole(file, `is nested deeper than ${deepest} levels`, 'a manifest needs no more than six');
}

/** A problem with the file as a whole. */
export function whole(file: string, message: string, hint: string | null): Problem {
  return { file, line: 0, column: 0, field: '', message, hint };
}
