import test from 'ava';
import type { CliIo } from '../../src/cli/io.ts';
import { Output } from '../../src/cli/output.ts';
import { progressTeller } from '../../src/cli/plans/plan-progress.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakePlans } from '../support/fake-plans.ts';
import { plan, step } from '../workflow/helpers.ts';

const completed = { kind: 'completed', output: null } as const;
const failed = { kind: 'failed', type: 'FATAL', error: 'no such host' } as const;

test('of a plan of many steps a log has how many are in which state every few seconds, and each that went wrong', async t => {
  const clock = new FakeClock();
  const io = {
    isTty: false,
    env: {},
    now: () => clock.now(),
    sleep: async (durationMs: number, signal: AbortSignal) => {
      await clock.sleep(durationMs, signal);
      signal.throwIfAborted();
    },
  } as unknown as CliIo;
  const lines: string[] = [];
  const teller = progressTeller(new Output(io, { json: false, color: false }), text => lines.push(text));
  const plans = new FakePlans();
  const spec = plan(
    Array.from({ length: 100 }, () => step()),
    { onFailure: 'continue' },
  );
  const { plan: id } = (await plans.submit({ spec, idempotencyKey: null, digest: '', origin: 'rest' })).plan;
  const watching = (async () => {
    for await (const event of plans.watch(id, null, new AbortController().signal)) teller.hear(event);
  })();
  await clock.settle();
  plans.begin(id);
  for (let index = 0; index < 99; index++) {
    plans.finish(id, index, index === 40 ? failed : completed);
    await clock.advance(100);
  }
  // Nothing more happens for long: it is known all the same how far it has come.
  await clock.advance(60_000);
  plans.finish(id, 99, completed);
  await watching;
  teller.end();
  t.deepEqual(lines, [
    'plan-1: pending, 100 pending\n',
    'plan-1: running, 100 running\n',
    'step 40: failed: no such host\n',
    'plan-1: running, 49 completed, 50 running, 1 failed\n',
    'plan-1: running, 98 completed, 1 running, 1 failed\n',
    'plan-1: failed, 99 completed, 1 failed\n',
  ]);
  t.is(clock.pending, 0);
});
