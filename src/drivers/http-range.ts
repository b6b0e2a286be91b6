/** The part of a file to send; `unsatisfiable` = beyond its end. */
export type Range = { start: number; end: number } | 'whole' | 'unsatisfiable';

/**
 * One range in bytes (RFC 9110, 14.1.2), both ends included. Several ranges, other units and malformed headers are
 * answered with the whole, as the standard allows.
 */
export function parseRange(header: string | undefined, size: number): Range {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? '');
  if (match === null) return 'whole';
  const [, first = '', last = ''] = match;
  if (first === '' && last === '') return 'whole';
  if (first === '') {
    const length = Math.min(Number(last), size);
    return length === 0 ? 'unsatisfiable' : { start: size - length, end: size - 1 };
  }
  const start = Number(first);
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (last !== '' && Number(last) < start) return 'whole';
  return start >= size ? 'unsatisfiable' : { start, end };
}
