import test from 'ava';
import { staleTokenMeter } from '../../src/main/metered.ts';
import { createMetrics } from '../../src/platform/metrics.ts';

test('stale tokens are counted by what was tried under them, from 0', async t => {
  const metrics = createMetrics();
  const count = staleTokenMeter(metrics);
  count('state');
  count('state');
  count('route');
  const lines = (await metrics.text()).split('\n').filter(line => line.startsWith('hop3_stale_tokens'));
  t.deepEqual(lines.toSorted(), [
    'hop3_stale_tokens_refused_total{use="release"} 0',
    'hop3_stale_tokens_refused_total{use="request"} 0',
    'hop3_stale_tokens_refused_total{use="route"} 1',
    'hop3_stale_tokens_refused_total{use="state"} 2',
  ]);
});
