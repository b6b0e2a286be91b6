import type { ExecutionContext } from 'ava';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Python } from './python-grpc.ts';

const run = promisify(execFile);

/** All that a client in Python can do at an address, where a worker in Python does the steps for "words". */
export async function drivenFromPython(t: ExecutionContext, python: Python, address: string): Promise<void> {
  const drive = join(import.meta.dirname, '../rpc/drive.py');
  const { stdout } = await run(python.program, [drive, address], {
    env: python.env,
    timeout: 60_000,
  });
  const found = JSON.parse(stdout) as Record<string, unknown>;
  t.is(found['health'], 'SERVING');
  t.deepEqual(found['services'], [
    'grpc.health.v1.Health',
    'grpc.reflection.v1.ServerReflection',
    'hop3.agent.v1.Scheduler',
    'hop3.agent.v1.Work',
  ]);
  t.deepEqual(found['reflected'], [true, ['plan', 'idempotency_key', 'client_ref']]);
  t.deepEqual(found['refused'], ['INVALID_ARGUMENT', ['plan.priority', 'plan.steps[0].task.resource']]);
  const done = 'STEP_STATE_COMPLETED';
  t.deepEqual(found['watched'], [done, { 0: done, 1: done, 2: done }, 'PLAN_STATE_COMPLETED']);
  t.deepEqual(found['outputs'], [{ words: 3 }, { words: 2 }, { words: 1 }]);
  t.deepEqual(found['stream'], [50, 3, true]);
  t.deepEqual(found['done'], { PLAN_STATE_COMPLETED: 49 });
  t.deepEqual(found['cancelled'], [{ 0: 'STEP_STATE_CANCELLED' }, 'PLAN_STATE_CANCELLED']);
}
