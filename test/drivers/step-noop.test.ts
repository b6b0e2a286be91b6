import test from 'ava';
import { noopAgent } from '../../src/drivers/step-noop.ts';
import { FakeBlobs } from '../support/fake-blobs.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { stepTask } from '../support/step-task.ts';

const never = new AbortController().signal;

function noop() {
  const clock = new FakeClock();
  const blobs = new FakeBlobs(clock);
  return { clock, blobs, agent: noopAgent({ clock, blobs }) };
}

const work = (given: Record<string, string>) => ({ agent: 'noop', resource: '', arguments: given });

test('it completes without an output', async t => {
  t.deepEqual(await noop().agent.run(stepTask(), never), { kind: 'completed', output: null });
});

test('it takes the time it is told to, unless it is told to stop', async t => {
  const { agent, clock } = noop();
  const given = stepTask({ work: work({ 'delay-ms': '500' }) });
  const run = agent.run(given, never);
  let ended = false;
  void run.then(() => (ended = true));
  await clock.advance(499);
  t.false(ended);
  await clock.advance(1);
  t.deepEqual(await run, { kind: 'completed', output: null });
  const stopping = new AbortController();
  const stopped = agent.run(given, stopping.signal);
  stopping.abort();
  t.deepEqual(await stopped, { kind: 'stopped' });
});

test('it fails as it is told to, for as many attempts as it is told to', async t => {
  const { agent } = noop();
  const flaky = work({ fail: 'retryable', 'fail-attempts': '2' });
  const kinds = [];
  for (const attempt of [1, 2, 3]) {
    kinds.push((await agent.run(stepTask({ work: flaky, attempt }), never)).kind);
  }
  t.deepEqual(kinds, ['failed', 'failed', 'completed']);
  const fatal = await agent.run(stepTask({ work: work({ fail: 'fatal' }), attempt: 99 }), never);
  t.like(fatal, { kind: 'failed', type: 'FATAL' });
});

const payloads: { name: string; mimeType: string; text: string; value: unknown }[] = [
  {
    name: 'JSON',
    mimeType: 'application/json; charset=utf-8',
    text: '{"a":[1,"é"]}',
    value: { a: [1, 'é'] },
  },
  { name: 'a kind of JSON', mimeType: 'application/problem+json', text: 'null', value: null },
  { name: 'text', mimeType: 'text/plain', text: '{"a":1}', value: '{"a":1}' },
  { name: 'what calls itself JSON', mimeType: 'application/json', text: '{"a":', value: '{"a":' },
  {
    name: 'JSON whose numbers JavaScript would round',
    mimeType: 'application/json',
    text: '{"id":12345678901234567890}',
    value: '{"id":12345678901234567890}',
  },
];
for (const { name, mimeType, text, value } of payloads) {
  test(`its echo of ${name} is the payload`, async t => {
    const task = stepTask({ work: work({ echo: 'true' }), payload: { mimeType, bytes: Buffer.from(text) } });
    t.deepEqual(await noop().agent.run(task, never), { kind: 'completed', output: { value } });
  });
}

test('its echo of many bytes, and of what is no text, is their digest', async t => {
  const { agent, blobs } = noop();
  for (const bytes of [Buffer.alloc(5000, 'long '), Buffer.from([0xff, 0xfe, 0])]) {
    const task = stepTask({ work: work({ echo: 'true' }), payload: { mimeType: 'text/plain', bytes } });
    const result = await agent.run(task, never);
    t.like(result, { kind: 'completed', output: { bytes: bytes.length } });
    const output = result.kind === 'completed' ? result.output : null;
    t.true(output !== null && 'digest' in output);
    if (output !== null && 'digest' in output) {
      t.deepEqual(Buffer.from(await blobs.get(output.digest, never)), bytes);
    }
  }
});

test('what makes no sense is told before, all of it', t => {
  const { agent } = noop();
  t.deepEqual(agent.check(work({ 'delay-ms': '10', echo: 'true', fail: 'fatal', 'fail-attempts': '1' })), []);
  const problems = agent.check(work({ 'delay-ms': '-1', echo: 'yes', fail: 'sometimes', delay: '1' }));
  t.deepEqual(
    problems.map(({ field, hint }) => [field, hint]),
    [
      ['arguments.delay-ms', 'a whole number from 0 to 86400000'],
      ['arguments.echo', 'one of true, false'],
      ['arguments.fail', 'one of retryable, fatal'],
      ['arguments.delay', 'it has delay-ms, fail, fail-attempts, echo'],
    ],
  );
});
