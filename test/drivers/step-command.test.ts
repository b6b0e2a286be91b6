import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { cgroups, enterGroups, groupMembers, removeGroups } from '../../src/drivers/cgroups.ts';
import { processGuard } from '../../src/drivers/process-guard.ts';
import { commandAgent, removeStepFiles } from '../../src/drivers/step-command.ts';
import { stepProcesses } from '../../src/drivers/step-processes.ts';
import { groupPrefix } from '../../src/drivers/unit-limits.ts';
import type { StepOutput, StepResult } from '../../src/model/plan.ts';
import { systemClock } from '../../src/platform/clock.ts';
import type { AppPlaces, StepTask } from '../../src/ports/step-agents.ts';
import { temporaryDirectory } from '../artifacts/helpers.ts';
import { FakeBlobs } from '../support/fake-blobs.ts';
import { FakeLog } from '../support/fake-log.ts';
import { stepTask } from '../support/step-task.ts';
import { until } from '../support/until.ts';
import { warningsIn } from './helpers.ts';

const never = new AbortController().signal;
const clock = systemClock();
const asRoot = process.getuid?.() === 0;
const able = await processGuard({ stateDir: '/nonexistent', bootId: '', asRoot }).unable();

async function world(
  t: ExecutionContext,
  parts: { commands?: 'apps' | 'all'; apps?: AppPlaces; namespaces?: boolean; groups?: false } = {},
) {
  const stateDir = await temporaryDirectory(t);
  const directory = join(stateDir, 'steps');
  const log = new FakeLog();
  const namespaces = parts.namespaces ?? able === null;
  const held = stepProcesses({ directory, namespaces, clock, log });
  const nothing = { memory: false, cpu: false, processes: false };
  const processes = parts.groups === false ? { ...held, enforceable: nothing } : held;
  const blobs = new FakeBlobs(clock);
  await mkdir(directory);
  const nobody: AppPlaces = {
    enter: app => Promise.reject(new Error(`there is no app "${app}"`)),
    isForOthers: () => false,
  };
  const { commands = 'all', apps = nobody } = parts;
  const agent = commandAgent({
    commands,
    directory,
    user: userInfo().username,
    processes,
    apps,
    blobs,
    clock,
  });
  const run = (
    command: string,
    given: Record<string, string> = {},
    task: Partial<StepTask> = {},
    signal = new AbortController().signal,
  ): Promise<StepResult> =>
    agent.run(stepTask({ work: { agent: 'command', resource: command, arguments: given }, ...task }), signal);
  return { agent, run, blobs, directory, stateDir, log, processes };
}

function outputOf(result: StepResult): unknown {
  if (result.kind !== 'completed') throw new Error(JSON.stringify(result));
  return result.output !== null && 'value' in result.output ? result.output.value : result.output;
}

/** Whether anything lives whose command line has that word. */
async function lives(word: string): Promise<boolean> {
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      if (readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(word)) return true;
    } catch {
      continue;
    }
  }
  return false;
}

const noLimits = { memoryBytes: null, cpu: null, processes: null };

let words = 0;
/** Seconds to sleep that nobody else sleeps: how a process is found again. */
function uniqueSeconds(): string {
  return `${70_000 + words++}.${process.pid}`;
}

test('its output is what it writes; its input is the payload, byte for byte', async t => {
  const { run, blobs } = await world(t);
  t.is(outputOf(await run('echo hello')), 'hello\n');
  t.deepEqual(outputOf(await run(`echo '{"a": 1}'`)), { a: 1 });
  t.is(outputOf(await run('true')), null);
  const bytes = Buffer.alloc(10 * 1024 * 1024, 'a long payload; ');
  const output = outputOf(await run('cat', {}, { payload: { mimeType: 'text/plain', bytes } })) as StepOutput;
  t.true('digest' in output && bytes.equals(await blobs.get(output.digest, never)));
  const unread = await run('exit 0', {}, { payload: { mimeType: 'text/plain', bytes } });
  t.is(outputOf(unread), null, 'nobody has to read it');
});

test('it knows whose word counts, which effect it is, and what steps before gave', async t => {
  const { run, blobs } = await world(t);
  const inputs = new Map<number, StepOutput>([
    [0, { value: { id: 7 } }],
    [2, { value: "it's `text` $(x)" }],
    [3, await blobs.put(Buffer.from([0, 255, 7]))],
  ]);
  const names = ['FENCING_TOKEN', 'IDEMPOTENCY_KEY', 'PLAN', 'STEP', 'ATTEMPT', 'NODE'];
  const command = `echo ${names.map(name => `$HOP3_${name}`).join(' ')}`;
  const given = { token: '4711', idempotencyKey: 'plan-9/3', plan: 'plan-9', index: 3, attempt: 2 };
  t.is(outputOf(await run(command, {}, given)), '4711 plan-9/3 plan-9 3 2 node-1\n');
  t.is(
    outputOf(await run('cat "$HOP3_INPUTS/0"', { 'expect-code': '0' }, { inputs }))?.toString(),
    '[object Object]',
  );
  t.is(outputOf(await run('cat "$HOP3_INPUTS/2"', {}, { inputs })), "it's `text` $(x)");
  t.is(outputOf(await run('od -An -tu1 "$HOP3_INPUTS/3"', {}, { inputs })), '   0 255   7\n');
  t.is(
    outputOf(await run('echo "$GREETING $PATH"', { 'env.GREETING': '$(hi)', 'env.PATH': '/bin' })),
    '$(hi) /bin\n',
  );
  t.is(
    outputOf(await run('[ "$HOP3_REMAINING_MS" -le 60000 ] && [ "$HOP3_REMAINING_MS" -gt 0 ] && echo so')),
    'so\n',
  );
});

test('it has none of the environment of the agent, and a directory that goes with it', async t => {
  const { run, directory } = await world(t);
  process.env['HOP3_AGENT_ADMIN_TOKENS'] = 'secret';
  const env = outputOf(await run('env'));
  t.false(String(env).includes('secret'));
  t.is(outputOf(await run('echo x > file; [ "$PWD" = "$HOME" ] && [ -w "$TMPDIR" ] && cat file')), 'x\n');
  t.deepEqual(await readdir(directory), []);
});

const codes: { command: string; given?: Record<string, string>; result: string }[] = [
  { command: 'exit 0', result: 'completed' },
  { command: 'exit 1', result: 'RETRYABLE it ended with code 1' },
  { command: 'echo why >&2; exit 75', result: 'RETRYABLE it ended with code 75: why' },
  { command: 'exit 64', result: 'FATAL it ended with code 64' },
  { command: 'no-such-command', result: 'FATAL it ended with code 127' },
  { command: 'exit 3', given: { 'expect-code': '0, 3' }, result: 'completed' },
  { command: 'exit 1', given: { 'retry-code': '75' }, result: 'FATAL it ended with code 1' },
  { command: 'exit 64', given: { 'retry-code': '64' }, result: 'RETRYABLE it ended with code 64' },
  { command: 'kill -KILL $$', result: 'RETRYABLE it ended with code 137' },
];
for (const { command, given = {}, result } of codes) {
  test(`${command} (${JSON.stringify(given)}) is ${result}`, async t => {
    const { run } = await world(t);
    const got = await run(command, given);
    const text = got.kind === 'failed' ? `${got.type} ${got.error}` : got.kind;
    t.true(text.startsWith(result), text);
  });
}

test('it does not fail for what it left behind, which is held by nothing and still writes', async t => {
  const { run, directory } = await world(t, { namespaces: false, groups: false });
  const going = join(await temporaryDirectory(t), 'going');
  await writeFile(going, '');
  const writer = `i=0; while [ -e ${going} ]; do echo > "$HOME/$$-$i"; i=$(( (i + 1) % 2000 )); done`;
  const command = [
    `for n in 1 2 3 4; do setsid sh -c '${writer}' > /dev/null 2>&1 & done`,
    'until [ "$(ls | wc -l)" -ge 8000 ]; do :; done; echo done',
  ];
  t.is(outputOf(await run(command.join('\n'))), 'done\n');
  await rm(going);
  await until('the next agent has a clean directory', async () => {
    await removeStepFiles(directory);
    return !existsSync(directory);
  });
});

for (const namespaces of able === null ? [true, false] : [false]) {
  const how = namespaces ? 'in a namespace' : 'in a session';

  test(`${how}: told to stop, it is dead with all of its group before that is said`, async t => {
    const { run } = await world(t, { namespaces });
    const seconds = uniqueSeconds();
    const stopping = new AbortController();
    // Neither what ignores the signal nor what runs beside it is spared.
    const command = `(trap '' TERM; sleep ${seconds} & wait; sleep ${seconds}) & sleep ${seconds}`;
    const result = run(command, {}, { remainingMs: 8000 }, stopping.signal);
    await until('it runs', () => lives(seconds));
    stopping.abort();
    t.deepEqual(await result, { kind: 'stopped' });
    t.false(await lives(seconds));
  });

  test(`${how}: many may be told to stop at once, without a warning`, async t => {
    const { run } = await world(t, { namespaces });
    const warnings = warningsIn(t);
    const tasks = Array.from({ length: 12 }, () => ({
      seconds: uniqueSeconds(),
      stopping: new AbortController(),
    }));
    const results = tasks.map(({ seconds, stopping }) =>
      run(`(trap '' TERM; sleep ${seconds}) & sleep ${seconds}`, {}, {}, stopping.signal),
    );
    for (const { seconds } of tasks) await until('it runs', () => lives(seconds));
    for (const { stopping } of tasks) stopping.abort();
    for (const result of results) t.deepEqual(await result, { kind: 'stopped' });
    t.deepEqual(warnings, []);
  });

  test(`${how}: it is dead when its time is over, and that is in time`, async t => {
    const { run } = await world(t, { namespaces });
    const seconds = uniqueSeconds();
    const startedMs = clock.now();
    const result = await run(
      `trap '' TERM; sleep ${seconds} & sleep ${seconds}; sleep ${seconds}`,
      {},
      { remainingMs: 1500 },
    );
    t.like(result, { kind: 'failed', type: 'RETRYABLE' });
    t.true(clock.now() - startedMs >= 1300);
    t.false(await lives(seconds));
  });

  test(`${how}: what it leaves behind in its session ends with it`, async t => {
    const { run } = await world(t, { namespaces });
    const seconds = uniqueSeconds();
    t.is(outputOf(await run(`sleep ${seconds} & echo done`)), 'done\n');
    t.false(await lives(seconds));
  });

  test(`${how}: it does not outlive its agent, however that ends`, async t => {
    const stateDir = await temporaryDirectory(t);
    const seconds = uniqueSeconds();
    const script = join(import.meta.dirname, 'lone-step.ts');
    const agent = spawn(
      process.execPath,
      ['--import=tsx', script, stateDir, String(namespaces), `sleep ${seconds} & sleep ${seconds}`],
      { stdio: 'inherit' },
    );
    t.teardown(() => agent.kill('SIGKILL'));
    await until('it runs', () => lives(`sleep\0${seconds}`), 40_000);
    agent.kill('SIGKILL');
    await once(agent, 'exit');
    await until('it is dead', async () => !(await lives(`sleep\0${seconds}`)));
    t.pass();
  });
}

if (able === null) {
  test('in a namespace, what has fled to a session of its own ends with it as well', async t => {
    const { run } = await world(t);
    const seconds = uniqueSeconds();
    t.is(outputOf(await run(`setsid sleep ${seconds} & sleep 0.1; echo done`)), 'done\n');
    t.false(await lives(seconds));
  });
}

test('a limit of memory holds, and says so; one that can not be held is refused before', async t => {
  const { run, agent, processes } = await world(t);
  const work = { agent: 'command', resource: 'true', arguments: { memory: '64M' } };
  if (!processes.enforceable.memory) {
    t.like(agent.check(work), [{ field: 'arguments.memory' }]);
    return;
  }
  t.deepEqual(agent.check(work), []);
  const result = await run(`node -e 'Buffer.alloc(200e6, 1)'`, {
    memory: '64M',
    'env.PATH': process.env['PATH'] ?? '',
  });
  t.like(result, { kind: 'failed', type: 'RETRYABLE' });
  t.regex(result.kind === 'failed' ? result.error : '', /out of memory/);
});

test('with an app it runs where the app is, with its environment, and leaves when it has ended', async t => {
  const home = await temporaryDirectory(t);
  await mkdir(join(home, 'src'));
  await writeFile(join(home, 'src', 'file'), 'of the app\n');
  const entered: string[] = [];
  const apps: AppPlaces = {
    enter: app => {
      if (app !== 'blog') return Promise.reject(new Error(`there is no app "${app}"`));
      entered.push(app);
      return Promise.resolve({
        directory: join(home, 'src'),
        env: { APP: app, PATH: '/usr/bin:/bin' },
        user: null,
        limits: { memoryBytes: null, cpu: null, processes: null },
        leave: () => void entered.pop(),
      });
    },
    isForOthers: app => app === 'elsewhere',
  };
  const { agent, run } = await world(t, { commands: 'apps', apps });
  const isForOthers = (app: string) =>
    agent.isForOthers?.({ agent: 'command', resource: 'true', arguments: { app } });
  t.deepEqual([isForOthers('blog'), isForOthers('elsewhere')], [false, true]);
  t.is(
    outputOf(await run('cat file; echo $APP $HOP3_FENCING_TOKEN', { app: 'blog' })),
    'of the app\nblog 7\n',
  );
  t.deepEqual(entered, []);
  await t.throwsAsync(run('true', { app: 'shop' }), { message: /no app "shop"/ });
});

test('where only commands of apps may run, any other is refused, when it is asked for and when it is tried', async t => {
  const { run, agent } = await world(t, { commands: 'apps' });
  t.like(agent.check({ agent: 'command', resource: 'id' }), [{ field: 'agent' }]);
  const mark = join(await temporaryDirectory(t), 'mark');
  await t.throwsAsync(run(`touch ${mark}`), { message: /commands of apps only/ });
  t.false(existsSync(mark));
});

test('what makes no sense is told before, all of it', async t => {
  const { agent } = await world(t);
  const problems = agent.check({
    agent: 'command',
    resource: ' ',
    arguments: {
      app: 'B',
      memory: 'much',
      cpu: '-1',
      'expect-code': '256',
      'env.HOP3_X': '1',
      'env.a b': '',
      env: '',
    },
  });
  t.deepEqual(
    problems.map(({ field }) => field),
    [
      'arguments.app',
      'arguments.memory',
      'arguments.cpu',
      'arguments.expect-code',
      'arguments.env',
      'arguments.env.HOP3_X',
      'arguments.env.a b',
      'resource',
    ].concat(asRoot ? [] : ['arguments.memory', 'arguments.cpu']),
  );
});

test('what an agent before left in control groups is ended, and only that', async t => {
  const { processes, directory, stateDir } = await world(t);
  if (!processes.enforceable.processes) {
    await t.notThrowsAsync(processes.clear());
    return;
  }
  const [seconds, others] = [uniqueSeconds(), uniqueSeconds()];
  const groups = cgroups();
  const left = groups.prepare(`${groupPrefix(directory)}left`, { ...noLimits, processes: 10 });
  const other = groups.prepare(`${groupPrefix(stateDir)}step-app.web.0`, { ...noLimits, processes: 10 });
  const started = [
    [seconds, left],
    [others, other],
  ] as const;
  for (const [word, directories] of started) {
    const child = spawn('sleep', [word], { detached: true, stdio: 'ignore' });
    t.teardown(() => child.kill('SIGKILL'));
    enterGroups(directories, child.pid ?? 0);
  }
  t.teardown(() => until('its group can go', () => (removeGroups(other), !existsSync(other[0] ?? ''))));
  t.teardown(() => {
    for (const pid of groupMembers(other)) process.kill(pid, 'SIGKILL');
  });
  await processes.clear();
  t.false(await lives(seconds));
  t.true(await lives(others));
  t.false(existsSync(left[0] ?? ''));
});
