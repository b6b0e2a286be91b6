import type { ExecutionContext } from 'ava';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setImmediate as macrotask } from 'node:timers/promises';
import type { PlanEvent, PlanView, StepView } from '../../src/model/plan-views.ts';
import type { PlanFeeds } from '../../src/ports/plan-feeds.ts';
import type { FakePlans } from './fake-plans.ts';
import { until } from './until.ts';

const PLAN = { plan: 'plan-1', state: 'RUNNING', steps: 1, onFailure: 'stop', counts: {} } as PlanView;

/** A plan of one step that is tried without end, until it is told to end. */
class BusyPlan {
  attempt = 0;
  ended = false;
  private wake: () => void = () => undefined;

  change(): void {
    this.attempt++;
    this.wake();
  }

  end(): void {
    this.ended = true;
    this.wake();
  }

  async *watch(signal: AbortSignal): AsyncGenerator<PlanEvent> {
    yield {
      kind: 'plan',
      revision: '1',
      changed: '1',
      plan: PLAN,
    };
    for (let told = -1; !signal.aborted;) {
      if (told < this.attempt) {
        told = this.attempt;
        const step = { plan: 'plan-1', index: 0, state: 'RUNNING', attempt: told, output: null } as StepView;
        const revision = String(told + 1);
        yield { kind: 'step', revision, changed: revision, step };
      } else if (this.ended) return;
      else await new Promise<void>(resolve => (this.wake = resolve));
    }
  }
}

/** Does work, and changes the plan, turn by turn, until the process has used so much processor time; gives what of it was not that work. */
async function otherShare(cpuMs: number, plan: BusyPlan): Promise<number> {
  const began = process.cpuUsage();
  let workMs = 0;
  let sum = 0;
  for (;;) {
    const before = process.cpuUsage();
    for (let n = 0; n < 200_000; n++) sum += n % 7;
    workMs += inMs(process.cpuUsage(before));
    plan.change();
    await macrotask();
    const usedMs = inMs(process.cpuUsage(began));
    if (usedMs >= cpuMs && sum > 0) return 1 - workMs / usedMs;
  }
}

function inMs({ user, system }: NodeJS.CpuUsage): number {
  return (user + system) / 1000;
}

const WATCHERS = 2000;
/** What telling them may take of this process's own processor time, at most; about a fifth is usual. */
const SHARE = 1 / 3;
const MEASURED_CPU_MS = 1000;

/** The script watches on so many streams; `ok` = how each of them is to end, as it reports that. */
export async function watchedByMany(
  t: ExecutionContext,
  {
    plans,
    feeds,
    script,
    address,
    ok,
  }: {
    plans: FakePlans;
    feeds: PlanFeeds;
    script: string;
    address: string;
    ok: string | number;
  },
): Promise<void> {
  t.timeout(120_000);
  const plan = new BusyPlan();
  let watches = 0;
  plans.watch = (_id, _after, signal) => {
    watches++;
    return plan.watch(signal);
  };
  const watching = spawn(process.execPath, ['--import=tsx', script, address, String(WATCHERS)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => watching.kill('SIGKILL'));
  const lines: string[] = [];
  createInterface({ input: watching.stdout }).on('line', line => lines.push(line));
  await until('all have begun', () => lines.includes('begun'), 60_000);
  t.is(feeds.watchers, WATCHERS);
  const share = await otherShare(MEASURED_CPU_MS, plan);
  plan.end();
  const told = await until('all have ended', () => lines[1], 60_000);

  t.log(`${(share * 100).toFixed(0)} % of the processor time went into telling`, told);
  t.true(share <= SHARE, `${(share * 100).toFixed(0)} % of the processor time went into telling`);
  const { ends, heard, attempts } = JSON.parse(told) as {
    ends: (string | number)[];
    heard: number;
    attempts: number[];
  };
  t.deepEqual([ends, heard, attempts], [[ok], WATCHERS, [plan.attempt]]);
  t.is(watches, 1);
}
