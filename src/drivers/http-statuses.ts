/** As in `2xx, 304, 410-412`. null = it can't be read. */
export function parseStatuses(text: string): ((status: number) => boolean) | null {
  const ranges: [number, number][] = [];
  for (const part of text.split(',')) {
    const [, hundred, first, last] =
      /^\s*(?:([1-5])xx|([1-5]\d\d)(?:\s*-\s*([1-5]\d\d))?)\s*$/i.exec(part) ?? [];
    if (hundred !== undefined) ranges.push([Number(hundred) * 100, Number(hundred) * 100 + 99]);
    else if (first !== undefined) ranges.push([Number(first), Number(last ?? first)]);
    else return null;
  }
  if (ranges.some(([first, last]) => first > last)) return null;
  return status => ranges.some(([first, last]) => status >= first && status <= last);
}

export type Verdict = 'completed' | 'RETRYABLE' | 'FATAL';

export interface StatusRules {
  /** null = every 2xx. */
  expected: ((status: number) => boolean) | null;
  /** Besides those that tell by themselves that another attempt may help. */
  retried: ((status: number) => boolean) | null;
}

/** Timeout, too early, too many requests, and whatever the server says of itself. */
const PASSING = (status: number): boolean => [408, 425, 429].includes(status) || status >= 500;

/** What was said in so many words goes first. */
export function verdictOf(status: number, { expected, retried }: StatusRules): Verdict {
  if (expected === null ? status >= 200 && status < 300 : expected(status)) return 'completed';
  if (retried?.(status) ?? false) return 'RETRYABLE';
  return PASSING(status) ? 'RETRYABLE' : 'FATAL';
}
