import test from 'ava';
import { createMetrics } from '../../src/platform/metrics.ts';

test('counters, gauges and histograms appear with their labels, beside the figures of the process', async t => {
  const metrics = createMetrics();
  metrics.counter('hop3_starts_total', 'Starts', ['app']).add(2, { app: 'blog' });
  metrics.gauge('hop3_instances', 'Instances').set(3);
  metrics.histogram('hop3_round_seconds', 'Rounds', [], [0.1, 1]).observe(0.5);
  const text = await metrics.text();
  for (const line of [
    'hop3_starts_total{app="blog"} 2',
    'hop3_instances 3',
    'hop3_round_seconds_bucket{le="0.1"} 0',
    'hop3_round_seconds_bucket{le="1"} 1',
  ]) {
    t.true(text.includes(line), line);
  }
  t.regex(text, /^process_resident_memory_bytes \d+/m);
});

test('a collected gauge is read at each scrape, and labels that are gone are not repeated', async t => {
  const metrics = createMetrics();
  let states = ['running', 'backoff'];
  metrics.gauge('hop3_states', 'States', ['state'], set => {
    for (const state of states) set(1, { state });
  });
  t.regex(await metrics.text(), /hop3_states\{state="backoff"\} 1/);
  states = ['running'];
  t.notRegex(await metrics.text(), /backoff/);
});

test('the same name gives the same metric; another shape under that name is refused', async t => {
  const metrics = createMetrics();
  metrics.counter('hop3_x_total', 'X').add();
  metrics.counter('hop3_x_total', 'X').add();
  t.regex(await metrics.text(), /^hop3_x_total 2$/m);
  t.throws(() => metrics.gauge('hop3_x_total', 'X'), { message: /already counter\(\), not gauge\(\)/ });
});

test('two registries do not meet', async t => {
  const one = createMetrics();
  const other = createMetrics();
  one.counter('hop3_only_here_total', 'X').add();
  t.notRegex(await other.text(), /hop3_only_here_total/);
});
