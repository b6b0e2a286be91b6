import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { giveOrder } from '../../src/main/dev-orders.ts';
import { lockState } from '../../src/main/lock-state.ts';
import { nodeConfiguration } from '../../src/main/node-configuration.ts';
import { runNode } from '../../src/main/run-node.ts';
import { ran } from '../cli/captured-io.ts';
import { freePort } from '../support/free-port.ts';

/** The command line with the daemons as they are. */
async function said(argv: string[]): Promise<{ exitCode: number; stderr: string }> {
  const { exitCode, stderr } = await ran(argv, {
    daemon: {
      run: async options => {
        await nodeConfiguration(options, {});
        return 0;
      },
      dev: async ({ order, stateDir }) => {
        if (order.kind !== 'start') await giveOrder(stateDir, order);
        return 0;
      },
    },
  });
  return { exitCode, stderr };
}

async function directory(t: ExecutionContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'hop3-refusals-'));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  return path;
}

test('a configuration that is not there, or is a directory, is named', async t => {
  const place = await directory(t);
  const file = join(place, 'agent.yaml');
  t.deepEqual(await said(['run', '--config', file]), {
    exitCode: 3,
    stderr: `error: ${file}: there is no such file\n`,
  });
  t.deepEqual(await said(['run', '--config', place]), {
    exitCode: 1,
    stderr: `error: ${place}: it is a directory\n`,
  });
  await writeFile(file, 'name: [\n');
  t.regex((await said(['run', '--config', file])).stderr, /agent\.yaml:2:1: error: is not valid YAML/);
});

test('a second agent on a state directory is told who has it, and that it is a conflict', async t => {
  const place = await directory(t);
  const lock = await lockState(place, null);
  const file = join(place, 'agent.yaml');
  await writeFile(file, `state-dir: ${place}\nadmin: {listen: 127.0.0.1:${await freePort()}}\n`);
  const { exitCode, stderr } = await ran(['run', '--config', file], {
    daemon: { run: (options, signal) => runNode(options, signal) },
  });
  t.is(exitCode, 6);
  t.is(
    stderr,
    `error: state directory ${place} is in use by another agent (pid ${process.pid}): ` +
      'stop that one, or choose another --state-dir\n',
  );
  await lock.release();
});

for (const order of [['--stop'], ['--kill', 'node-1'], ['--start', 'node-1']]) {
  test(`dev ${order.join(' ')} where no cluster runs says so, and what starts one`, async t => {
    const place = await directory(t);
    const { exitCode, stderr } = await said(['dev', ...order, '--state-dir', place]);
    t.is(exitCode, 7);
    t.is(
      stderr,
      `error: no development cluster runs in ${place}\n` +
        'hint: hop3-agent dev starts one; --state-dir names where another runs\n',
    );
  });
}
