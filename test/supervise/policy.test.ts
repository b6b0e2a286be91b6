import test from 'ava';
import { defaultPolicy } from '../../src/supervise/policy.ts';

test('requests stay visible for longer than all attempts take, so that none is forgotten while it counts', t => {
  const { firstBackoffMs, maxAttempts, answerWithinMs, keepMs } = defaultPolicy;
  let wholeMs = 0;
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    wholeMs += Math.max(answerWithinMs, firstBackoffMs * 2 ** attempt);
  }
  t.true(keepMs > wholeMs, `${keepMs} ms is not more than ${wholeMs} ms`);
});
