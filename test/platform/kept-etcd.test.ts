import test, { type ExecutionContext } from 'ava';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/platform/clock.ts';
import { dataDirArgument } from '../../src/platform/etcd-command.ts';
import { keepEtcd } from '../../src/platform/kept-etcd.ts';
import { findProcess } from '../../src/platform/processes.ts';
import { findOnPath } from '../../src/platform/tools.ts';
import { FakeLog } from '../support/fake-log.ts';
import { freePort } from '../support/free-port.ts';
import { until } from '../support/until.ts';

test('an etcd that is killed is there again', async t => {
  const { etcd, kill, log } = await kept(t);
  await kill();
  await until('it answers again', () =>
    fetch(`${etcd.endpoint}/health`).then(
      ({ ok }) => ok,
      () => false,
    ),
  );
  t.is(log.matching('etcd ended and is started again').length, 1);
});

test('one that is stopped while it is started again is gone', async t => {
  const { etcd, kill, log, running } = await kept(t);
  await kill();
  await until('it is started again', async () => (await running()) !== null);
  await etcd.stop();
  t.is(await running(), null);
  t.deepEqual(log.matching('could not be started'), []);
});

async function kept(t: ExecutionContext) {
  const stateDir = await mkdtemp(join(tmpdir(), 'hop3-etcd-'));
  t.teardown(() => rm(stateDir, { recursive: true, force: true }));
  const log = new FakeLog();
  const etcd = await keepEtcd({
    binary: (await findOnPath('etcd', process.env['PATH']))!,
    stateDir,
    clientPort: await freePort(),
    peerPort: await freePort(),
    clock: systemClock(),
    log,
  });
  t.teardown(() => etcd.stop());
  const argument = dataDirArgument(join(stateDir, 'etcd', 'data'));
  const running = () => findProcess(argv => argv.includes(argument));
  const kill = async () => {
    const { id } = (await running())!;
    process.kill(id.pid, 'SIGKILL');
    await until('it is dead', async () => (await running())?.id.pid !== id.pid);
  };
  return { etcd, log, running, kill };
}
