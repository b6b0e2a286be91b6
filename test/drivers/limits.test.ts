import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';

import { cgroups, groupMembers, ranOutOfMemory } from '../../src/drivers/cgroups.ts';
import type { ProcessDriver } from '../../src/drivers/process-driver.ts';
import type { Limits } from '../../src/model/app-spec.ts';
import { DriverError } from '../../src/ports/driver.ts';
import { until } from '../support/until.ts';
import { exitOf, launch, linesOf, processDriverIn, processesWith, temporaryDirectory } from './helpers.ts';

const NONE: Limits = { memoryBytes: null, cpu: null, processes: null };
const HOG = `x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo survived; sleep 300`;

/** What the machine the test runs on can't enforce must be refused: so each of these holds everywhere. */
const limits: {
  name: keyof Awaited<ReturnType<ProcessDriver['limitsEnforceable']>>;
  limit: Limits;
  command: string;
  enforced: (t: ExecutionContext, driver: ProcessDriver) => Promise<void>;
}[] = [
  {
    name: 'memory',
    limit: { ...NONE, memoryBytes: 32 * 2 ** 20 },
    command: HOG,
    async enforced(t, driver) {
      const exit = await exitOf(driver, 'blog-web-0-a');
      t.false(exit.requested);
      t.regex(exit.lastOutput.join('\n'), /out of memory: the kernel killed it at its limit of 32 MiB/);
      t.false(exit.lastOutput.includes('survived'));
    },
  },
  {
    name: 'processes',
    limit: { ...NONE, processes: 5 },
    command: 'i=0; while [ $i -lt 20 ]; do sleep 300 & i=$((i+1)); done; echo survived',
    async enforced(t, driver) {
      const exit = await exitOf(driver, 'blog-web-0-a');
      t.regex(exit.lastOutput.join('\n'), /[Cc]annot fork|Resource temporarily unavailable/);
      t.false(exit.lastOutput.includes('survived'));
    },
  },
  {
    name: 'cpu',
    limit: { ...NONE, cpu: 0.1 },
    command: 'while :; do :; done',
    async enforced(t, driver) {
      const [unit] = await driver.observe();
      const own = readFileSync(`/proc/${unit!.pid}/cgroup`, 'utf8');
      const path =
        /^(?:\d+:(?:[^:]*,)?cpu(?:,[^:]*)?|0:):(.*blog-web-0-a)$/m.exec(own)?.[1] ?? 'not in a group';
      const mounts = ['/sys/fs/cgroup/cpu', '/sys/fs/cgroup/cpu,cpuacct', '/sys/fs/cgroup'];
      const stat = mounts.map(mount => join(mount, path, 'cpu.stat')).find(file => existsSync(file));
      await until('it was throttled', () => /^nr_throttled [1-9]/m.test(readFileSync(stat ?? own, 'utf8')));
      t.pass();
    },
  },
];

for (const { name, limit, command, enforced } of limits) {
  test(`a limit of ${name} is held, or the start is refused with what would be needed`, async t => {
    const driver = processDriverIn(t, temporaryDirectory(t));
    const wanted = launch({ command, limits: limit });
    if ((await driver.limitsEnforceable())[name]) {
      await driver.start(wanted);
      await enforced(t, driver);
    } else {
      const error = await t.throwsAsync(driver.start(wanted), { instanceOf: DriverError });
      t.false(error.retryable);
    }
  });
}

test('what cannot be enforced is refused naming the limit and the remedy, and what has no limits starts', async t => {
  const nothing = cgroups({ mounts: '', own: '' });
  t.deepEqual(nothing.enforceable, { memory: false, cpu: false, processes: false });
  const driver = processDriverIn(t, temporaryDirectory(t), { cgroups: nothing });
  t.deepEqual(await driver.limitsEnforceable(), nothing.enforceable);
  for (const [name, limit] of [
    ['memory', { ...NONE, memoryBytes: 2 ** 28 }],
    ['cpu', { ...NONE, cpu: 0.5 }],
    ['processes', { ...NONE, processes: 10 }],
  ] as const) {
    const error = await t.throwsAsync(driver.start(launch({ limits: limit })), { instanceOf: DriverError });
    t.false(error.retryable);
    t.regex(error.message, new RegExp(`its ${name} limit .* can't be enforced .*as root`));
  }
  await t.notThrowsAsync(driver.start(launch()));
});

test('with limits, stopping ends even what founded a session of its own, and the groups are removed', async t => {
  const stateDir = temporaryDirectory(t);
  const driver = processDriverIn(t, stateDir);
  const wanted = launch({
    command: 'setsid sleep 300 & echo ready; wait',
    env: { MARK: stateDir, PATH: process.env['PATH']! },
    limits: { memoryBytes: 2 ** 28, cpu: 1, processes: 50 },
  });
  const enforceable = await driver.limitsEnforceable();
  if (!Object.values(enforceable).every(able => able)) {
    await t.throwsAsync(driver.start(wanted), { instanceOf: DriverError });
    return;
  }
  const { unit, instance } = await driver.start(wanted);
  await until('it is ready', async () => (await linesOf(driver, instance)).length > 0);
  const record = JSON.parse(readFileSync(join(stateDir, 'units', 'process', `${unit}.json`), 'utf8'));
  const groups = record.cgroups as string[];
  t.true(groups.length >= 1);
  t.true(groups.every(group => existsSync(group)));
  await driver.stop(unit, 1);
  t.deepEqual(processesWith(stateDir), []);
  t.deepEqual(
    groups.filter(group => existsSync(group)),
    [],
  );
});

/** A directory that looks like a mounted hierarchy; real ones make the files of a new group by themselves. */
function hierarchy(t: ExecutionContext, files: Record<string, string>): string {
  const root = temporaryDirectory(t);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(root, name, '..'), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  return root;
}

const layouts = [
  {
    name: 'version 1, one hierarchy a controller',
    sources: (root: string) => ({
      mounts: `cgroup ${root} cgroup rw,relatime,memory 0 0\n`,
      own: '4:memory:/agents\n',
    }),
    made: 'agents',
  },
  {
    name: 'version 1 in a container that sees the path of its host',
    sources: (root: string) => ({
      mounts: `cgroup ${root} cgroup rw,memory 0 0\n`,
      own: '4:memory:/docker/0123\n',
    }),
    made: '.',
  },
];

for (const { name, sources, made } of layouts) {
  test(`groups are made inside the agent's own: ${name}`, t => {
    const root = hierarchy(t, { 'agents/cgroup.procs': '' });
    // A plain directory gets no limit files, so it must be taken for what it is: nothing that can limit.
    t.false(cgroups(sources(root)).enforceable.memory);
    t.deepEqual(
      readdirSync(join(root, made)).filter(entry => entry.startsWith('hop3-probe')),
      [],
    );
  });
}

test('what agents left that were killed while they found out is removed, and what others are at is not', t => {
  const ended = spawnSync('true').pid;
  const root = hierarchy(t, { 'cgroup.procs': '' });
  for (const pid of [ended, process.ppid]) mkdirSync(join(root, `hop3-probe-${pid}`));
  cgroups({ mounts: `cgroup ${root} cgroup rw,memory 0 0\n`, own: '4:memory:/\n' });
  t.deepEqual(
    readdirSync(root).filter(entry => entry.startsWith('hop3-probe')),
    [`hop3-probe-${process.ppid}`],
  );
});

test('a version 2 hierarchy without delegated controllers limits nothing', t => {
  const root = hierarchy(t, { 'cgroup.controllers': 'hugetlb', 'cgroup.subtree_control': '' });
  const found = cgroups({ mounts: `cgroup2 ${root} cgroup2 rw 0 0\n`, own: '0::/\n' });
  t.deepEqual(found.enforceable, { memory: false, cpu: false, processes: false });
});

test('members and kills for want of memory are read from the groups of both versions', t => {
  const root = hierarchy(t, {
    'one/cgroup.procs': '12\n13\n',
    'one/memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 0\n',
    'two/cgroup.procs': '13\n14\n',
    'two/memory.events': 'low 0\noom 1\noom_kill 1\n',
  });
  t.deepEqual(groupMembers([join(root, 'one'), join(root, 'two'), join(root, 'gone')]), [12, 13, 14]);
  t.false(ranOutOfMemory([join(root, 'one')]));
  t.true(ranOutOfMemory([join(root, 'two')]));
});
