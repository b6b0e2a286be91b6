import test from 'ava';
import { parseStatuses, verdictOf, type Verdict } from '../../src/drivers/http-statuses.ts';

const verdicts: { status: number; expect?: string; retry?: string; verdict: Verdict }[] = [
  { status: 200, verdict: 'completed' },
  { status: 204, verdict: 'completed' },
  { status: 302, verdict: 'FATAL' },
  { status: 400, verdict: 'FATAL' },
  { status: 404, verdict: 'FATAL' },
  { status: 408, verdict: 'RETRYABLE' },
  { status: 425, verdict: 'RETRYABLE' },
  { status: 429, verdict: 'RETRYABLE' },
  { status: 500, verdict: 'RETRYABLE' },
  { status: 503, verdict: 'RETRYABLE' },
  { status: 200, expect: '201', verdict: 'FATAL' },
  { status: 410, expect: '2xx, 410', verdict: 'completed' },
  { status: 500, expect: '5xx', verdict: 'completed' },
  { status: 404, retry: '400-409', verdict: 'RETRYABLE' },
  { status: 200, retry: '200', verdict: 'completed' },
  { status: 200, expect: '201', retry: '200', verdict: 'RETRYABLE' },
];
for (const { status, expect, retry, verdict } of verdicts) {
  const given = [expect && `expected ${expect}`, retry && `retried ${retry}`].filter(Boolean).join(', ');
  test(`${status}${given && ` (${given})`} is ${verdict}`, t => {
    const expected = expect === undefined ? null : parseStatuses(expect);
    const retried = retry === undefined ? null : parseStatuses(retry);
    t.is(verdictOf(status, { expected, retried }), verdict);
  });
}

for (const text of ['', '2', '99', '600', '2xx,', '6xx', '300-200', 'ok', '200 201']) {
  test(`"${text}" is no list of statuses`, t => t.is(parseStatuses(text), null));
}
