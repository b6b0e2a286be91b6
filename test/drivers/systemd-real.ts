/** Tests of the systemd driver on a machine that systemd runs: part of systemd.test.ts there. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';

import { leftByOther } from '../../src/drivers/other-driver.ts';
import { systemdNames } from '../../src/drivers/systemd-names.ts';
import { ranAtAll } from '../../src/drivers/systemd-states.ts';
import { DriverError, type Driver, type Launch } from '../../src/ports/driver.ts';
import { processSpec } from '../support/nouns.ts';
import { until } from '../support/until.ts';
import {
  clock,
  exitOf,
  launch,
  linesOf,
  processesWith,
  stopADozen,
  systemdDriverIn,
  temporaryDirectory,
  textsOf,
  unitOf,
  warningsIn,
} from './helpers.ts';

/** There are no such tests where `HOP3_TEST_SYSTEMD` does not say that systemd is process 1. */
function real(title: string, run: (t: ExecutionContext) => Promise<void>): void {
  // One at a time: some of them hold up what all of them need.
  if (process.env['HOP3_TEST_SYSTEMD']) test.serial(`real: ${title}`, run);
}

const INSTANCE = 'blog/web/0';
const PATH = '/usr/local/bin:/usr/bin:/bin';

/** What a command printed by the time it ended by itself. */
async function outputOf(driver: Driver, parts: Partial<Launch> & { command: string }): Promise<string[]> {
  const { unit, instance } = await driver.start(launch({ env: { PATH }, ...parts }));
  const exit = await exitOf(driver, unit);
  return [...textsOf(await linesOf(driver, instance)), `exit ${exit.code ?? exit.signal ?? 'unknown'}`];
}

function program(t: ExecutionContext, files: Record<string, string>): string {
  const directory = temporaryDirectory(t);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
  return directory;
}

function systemctl(...args: string[]): string {
  return execFileSync('systemctl', args, { encoding: 'utf8' });
}

real(
  'a command has the environment of its launch and nothing else, and systemd tells nobody of it',
  async t => {
    const stateDir = temporaryDirectory(t);
    const driver = systemdDriverIn(t, stateDir);
    const env = { PATH, SECRET: 'a "b" $HOME ${PATH} `id` \\n\n\ttail %n \'q\'', EMPTY: '', USER: 'root' };
    const directory = program(t, {
      'env.mjs': 'process.stdout.write(JSON.stringify(process.env))',
    });
    const [text] = await outputOf(driver, { command: 'exec node env.mjs', env, directory, own: [directory] });
    const { name } = userOf(stateDir);
    // `PWD` is the shell's own.
    t.deepEqual(JSON.parse(text!), { ...env, USER: name, PWD: directory });
    const service = systemdNames(stateDir).service('blog-web-0-a');
    t.notRegex(systemctl('show', service) + systemctl('cat', service), /tail/);
    t.deepEqual(readdirSync(join(stateDir, 'units', 'systemd-environment')), []);
  },
);

real('a command means what it means in a shell', async t => {
  const driver = systemdDriverIn(t, temporaryDirectory(t));
  const env = { PATH, PORT: '5000' };
  const command = `echo "$PORT" '\${PORT}' '$PORT' $((1 + 1)) "$$" %n '%%' | sed "s/ [0-9]* %n/ PID %n/"`;
  t.deepEqual(await outputOf(driver, { command, env }), ['5000 ${PORT} $PORT 2 PID %n %%', 'exit 0']);
});

real('an app runs as a user of its own, in a sandbox', async t => {
  const stateDir = temporaryDirectory(t);
  const driver = systemdDriverIn(t, stateDir);
  const checks = [
    'id -un',
    'grep -E "^(NoNewPrivs|CapBnd|Seccomp):" /proc/self/status | tr -d "\\t"',
    'for place in / /etc /usr /var /run /root /home /dev; do (: > $place/hop3-test) 2>/dev/null && echo "wrote to $place"; done',
    'ls /root /home',
    ': > /tmp/hop3-own && ls /tmp',
    'unshare --user true 2>/dev/null || echo no namespace',
  ];
  t.deepEqual(await outputOf(driver, { command: checks.join('; ') }), [
    userOf(stateDir).name,
    'CapBnd:0000000000000000',
    'NoNewPrivs:1',
    'Seccomp:2',
    '/home:',
    '/root:',
    'hop3-own',
    'no namespace',
    'exit 0',
  ]);
});

real('ordinary programs in Node and Python run', async t => {
  const driver = systemdDriverIn(t, temporaryDirectory(t));
  const directory = program(t, {
    'server.mjs': `
      import { execFileSync } from 'node:child_process';
      import { randomUUID, pbkdf2Sync } from 'node:crypto';
      import { createServer } from 'node:http';
      import { cpus, networkInterfaces, totalmem, userInfo } from 'node:os';
      import { Worker } from 'node:worker_threads';
      userInfo(); cpus(); networkInterfaces(); totalmem(); randomUUID(); pbkdf2Sync('a', 'b', 10, 8, 'sha512');
      execFileSync('/bin/true');
      const worker = new Worker('require("node:worker_threads").parentPort.postMessage("w")', { eval: true });
      worker.once('message', () => {
        const server = createServer((_, response) => response.end('hello from node'));
        server.listen(0, '127.0.0.1', async () => {
          const url = 'http://127.0.0.1:' + server.address().port;
          console.log(await (await fetch(url)).text());
          server.close(); server.closeAllConnections();
        });
      });`,
    'server.py': `
import os, pwd, socket, subprocess, tempfile, threading
with tempfile.NamedTemporaryFile() as file: file.write(b'x')
subprocess.run(['/bin/true'], check=True)
with socket.create_server(('127.0.0.1', 0)) as server:
    threading.Thread(target=lambda: server.accept()[0].sendall(b'hello from python')).start()
    print(socket.create_connection(server.getsockname()).recv(100).decode(), pwd.getpwuid(os.getuid()).pw_name != 'root')
`,
  });
  const node = await outputOf(driver, { command: 'node server.mjs', directory, own: [directory] });
  t.deepEqual(node, ['hello from node', 'exit 0']);
  const parts = { unit: 'b', instance: 'blog/python/0', directory, own: [directory] };
  const python = await outputOf(driver, { command: 'python3 server.py', ...parts });
  t.deepEqual(python, ['hello from python True', 'exit 0']);
});

real(
  "an app's own directories are writable over releases, also what root left in them, and nobody else's",
  async t => {
    const stateDir = temporaryDirectory(t);
    const driver = systemdDriverIn(t, stateDir);
    const data = join(stateDir, 'apps/blog/data');
    const sources = [1, 2].map(release => join(stateDir, `apps/blog/releases/${release}/src`));
    for (const directory of [data, ...sources]) mkdirSync(directory, { recursive: true });
    writeFileSync(join(data, 'first'), '', { mode: 0o600 });
    const command = 'echo "$0" >> "$DATA/first" && echo x > new && cat "$DATA/second" 2>&1; ls -A "$DATA/.."';
    for (const [index, directory] of sources.entries()) {
      const release = index + 1;
      const parts = {
        unit: `u${release}`,
        release,
        instance: `blog/web/${index}`,
        env: { PATH, DATA: data },
      };
      const lines = await outputOf(driver, { command, directory, own: [directory, data], ...parts });
      t.is(lines.at(-1), 'exit 0', lines.join('\n'));
      // As a hook would, which runs as root between two releases.
      writeFileSync(join(data, 'second'), 'left by a hook\n', { mode: 0o600 });
      if (release === 2) t.true(lines.includes('left by a hook'));
    }
    t.is(readFileSync(join(data, 'first'), 'utf8').split('\n').length, 3);
    t.is(statSync(join(data, 'second')).uid, userOf(stateDir).uid);
    const other = { instance: 'shop/web/0', unit: 'other', env: { PATH, DATA: data } };
    const denied = await outputOf(driver, {
      command: 'echo x 2>/dev/null > "$DATA/third"; ls "$DATA"',
      ...other,
    });
    t.is(denied.at(-1), 'exit 2');
    t.false(existsSync(join(data, 'third')));
  },
);

real('a limit holds, or is refused', async t => {
  const driver = systemdDriverIn(t, temporaryDirectory(t));
  const able = await driver.limitsEnforceable();
  const none = { memoryBytes: null, cpu: null, processes: null };
  const tooMany = 'for i in 1 2 3 4 5 6 7 8 9; do sleep 20 & done; echo all';
  const processes = launch({ command: tooMany, env: { PATH }, limits: { ...none, processes: 6 } });
  if (able.processes) {
    await driver.start(processes);
    await exitOf(driver, processes.unit);
    t.false(textsOf(await linesOf(driver, INSTANCE)).includes('all'));
  } else {
    await t.throwsAsync(driver.start(processes), {
      instanceOf: DriverError,
      message: /processes limit \(6\)/,
    });
  }
  const eater = "node -e 'const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1))'";
  const limits = { ...none, memoryBytes: 96 * 1024 * 1024 };
  const memory = launch({ unit: 'memory', command: `exec ${eater}`, env: { PATH }, limits });
  if (able.memory) {
    await driver.start(memory);
    t.is((await exitOf(driver, 'memory')).signal, 'SIGKILL');
  } else {
    await t.throwsAsync(driver.start(memory), { instanceOf: DriverError, message: /memory limit/ });
  }
});

real('what a process leaves behind when it ends dies with it, wherever it fled to', async t => {
  const driver = systemdDriverIn(t, temporaryDirectory(t));
  const mark = `left-${process.pid}`;
  const command = `setsid sh -c "trap '' TERM HUP; while :; do sleep 0.1; done" ${mark} & sleep 0.1; exit 4`;
  await outputOf(driver, { command });
  await until('nothing is left', () => processesWith(mark).length === 0);
  await driver.forget('blog-web-0-a');
  t.deepEqual(await driver.observe(), []);
});

real('how it ended while no agent was there is known to the next one', async t => {
  const stateDir = temporaryDirectory(t);
  const directory = program(t, { 'end.sh': 'while [ ! -e end ]; do sleep 0.05; done; echo bye; exit 7' });
  const before = systemdDriverIn(t, stateDir);
  const { unit, pid } = await before.start(
    launch({ command: 'exec sh end.sh', directory, own: [directory] }),
  );
  await before.close();
  systemctl('daemon-reload');
  writeFileSync(join(directory, 'end'), '');
  await until('it has ended', () => !existsSync(`/proc/${pid!}`));
  const driver = systemdDriverIn(t, stateDir);
  t.like(await exitOf(driver, unit), { code: 7, signal: null, requested: false, lastOutput: ['bye'] });
});

real(
  'without a descriptor left nothing counts as ended, and the agent lives on; later it is found out',
  async t => {
    const script = join(import.meta.dirname, 'lone-systemd.ts');
    const limited = ['-c', 'ulimit -n 200; exec "$@"', 'sh', process.execPath, '--import=tsx', script];
    const stdout = execFileSync('/bin/sh', [...limited, temporaryDirectory(t)], { encoding: 'utf8' });
    t.deepEqual(JSON.parse(stdout), { without: null, later: 'SIGKILL' });
  },
);

real(
  "a command that ends with one of systemd's own codes is told from a start that failed with it",
  async t => {
    const ended = async (unit: string, ...command: string[]): Promise<boolean> => {
      const service = systemdNames(temporaryDirectory(t)).service(unit);
      t.teardown(() =>
        execFileSync('sh', ['-c', 'systemctl stop "$0"; systemctl reset-failed "$0"; true', service]),
      );
      execFileSync('sh', ['-c', 'systemd-run --quiet --unit="$@" || true', 'sh', service, ...command]);
      await until('it has ended', () =>
        /^MainPID=0$/m.test(systemctl('show', '--property=MainPID', service)),
      );
      return ranAtAll(service);
    };
    const kept = '--property=RemainAfterExit=yes';
    t.true(await ended('a', kept, '--property=Type=exec', '--', 'sh', '-c', 'exit 203'));
    t.true(await ended('b', kept, '--property=Type=exec', '--', 'sh', '-c', 'exit 3'));
    t.true(await ended('c', kept, '--property=Type=exec', '--', 'sh', '-c', 'kill -KILL $$'));
    const nowhere = '--property=WorkingDirectory=/nowhere';
    t.false(await ended('d', kept, '--property=Type=exec', nowhere, '--', 'sh', '-c', 'exit 203'));
  },
);

real('what a killed agent left of tokens and secrets is taken away, what is in use is not', async t => {
  const stateDir = temporaryDirectory(t);
  const before = systemdDriverIn(t, stateDir);
  const { unit } = await before.start(launch({ token: '41' }));
  await before.close();
  const secrets = join(stateDir, 'units', 'systemd-environment', 'lost');
  const token = join(stateDir, 'tokens', 'systemd', 'lost', 'fencing-token');
  for (const file of [secrets, token]) {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, 'SECRET=1');
  }
  const driver = systemdDriverIn(t, stateDir);
  t.deepEqual(
    (await driver.observe()).map(each => each.unit),
    [unit],
  );
  t.false(existsSync(secrets));
  t.deepEqual(readdirSync(join(stateDir, 'tokens', 'systemd')), [unit]);
});

real('what it left is known to a process driver, until it has been stopped', async t => {
  const stateDir = temporaryDirectory(t);
  const driver = systemdDriverIn(t, stateDir);
  const { unit } = await driver.start(launch({ token: '41' }));
  t.deepEqual(leftByOther(stateDir, 'process'), { driver: 'systemd', units: [unit] });
  await driver.stop(unit, 0);
  t.deepEqual(leftByOther(stateDir, 'process').units, []);
});

real(
  'a unit whose agent was ended in the middle of its start is known to the next one, and stopped by it',
  async t => {
    const stateDir = temporaryDirectory(t);
    const first = systemdDriverIn(t, stateDir);
    await first.start(launch());
    await first.close();
    const file = join(stateDir, 'units', 'systemd', 'blog-web-0-a.json');
    const record = JSON.parse(readFileSync(file, 'utf8')) as { service: string };
    systemctl('stop', record.service);
    // As it was when systemd was asked to start it, and had not run the command yet.
    writeFileSync(file, JSON.stringify({ ...record, main: null, group: null }));
    const mark = `middle-of-a-start-${process.pid}`;
    const settings = [
      '--property=Type=exec',
      '--property=ExecStartPre=/bin/sleep 1',
      `--setenv=MARK=${mark}`,
    ];
    execFileSync('systemd-run', [
      '--no-block',
      `--unit=${record.service}`,
      ...settings,
      '--',
      'sleep',
      '300',
    ]);
    const next = systemdDriverIn(t, stateDir);
    const found = await unitOf(next, 'blog-web-0-a');
    t.is(found?.exit, null);
    t.truthy(found?.pid);
    await next.stop('blog-web-0-a', 0);
    t.deepEqual(processesWith(mark), []);
  },
);

real('many may be on their way out at once, without a warning', async t => {
  const warnings = warningsIn(t);
  await stopADozen(systemdDriverIn(t, temporaryDirectory(t)));
  t.deepEqual(warnings, []);
});

real('a unit that nobody has a record of is ended', async t => {
  const stateDir = temporaryDirectory(t);
  const service = systemdNames(stateDir).service('stranger');
  execFileSync('sh', ['-c', 'systemd-run --quiet --unit="$0" sleep 300', service]);
  await systemdDriverIn(t, stateDir).observe();
  t.regex(systemctl('show', '--property=LoadState', service), /not-found/);
});

real('the file with the fencing token has the token of now, and only its own', async t => {
  const stateDir = temporaryDirectory(t);
  const driver = systemdDriverIn(t, stateDir);
  await driver.guard.arm(clock.now() + 600_000);
  const command =
    'echo $HOP3_FENCING_TOKEN; cd /run/hop3; ls; while :; do cat "$HOP3_FENCING_TOKEN_FILE"; sleep 0.05; done';
  const { unit } = await driver.start(launch({ command, token: '41', guarded: true }));
  await until('it has seen the first', async () => (await linesOf(driver, INSTANCE)).length > 2);
  await driver.fence(unit, '57');
  await until('it has seen the second', async () => textsOf(await linesOf(driver, INSTANCE)).includes('57'));
  await driver.fence('nobody', '58');
  await driver.stop(unit, 0);
  t.deepEqual([...new Set(textsOf(await linesOf(driver, INSTANCE, 1000)))], ['41', 'fencing-token', '57']);
});

real('lines that somebody else writes under its identifier are not its output', async t => {
  const stateDir = temporaryDirectory(t);
  const driver = systemdDriverIn(t, stateDir);
  const identifier = systemdNames(stateDir).identifier(INSTANCE, 'blog-web-0-a');
  const forge = `systemd-cat --identifier='${identifier}' echo forged`;
  await outputOf(driver, { command: forge, instance: 'shop/web/0', unit: 'forger' });
  execFileSync('sh', ['-c', forge]);
  const lines = await outputOf(driver, { command: 'printf "\\033[1m%s\\n" bold; printf "%s" unfinished' });
  t.deepEqual(lines, ['\x1b[1mbold', 'unfinished', 'exit 0']);
});

real('one who follows sees the copies that are started meanwhile, each line once', async t => {
  const driver = systemdDriverIn(t, temporaryDirectory(t));
  const seen: string[] = [];
  const ending = new AbortController();
  const following = (async () => {
    const options = { lines: 0, follow: true, signal: ending.signal };
    for await (const { unit, text } of driver.output(INSTANCE, options)) seen.push(`${unit} ${text}`);
  })();
  const expected: string[] = [];
  for (const unit of ['a', 'b', 'c']) {
    const command = 'for i in 1 2 3; do echo $i; sleep 0.02; done; sleep 300';
    await driver.start(launch({ unit, command }));
    expected.push(`${unit} 1`, `${unit} 2`, `${unit} 3`);
  }
  await until('every line was seen', () => seen.length >= expected.length);
  ending.abort();
  await following;
  t.deepEqual(seen.toSorted(), expected);
});

real('agents with other state directories neither see nor end what the other runs', async t => {
  const [one, other] = [temporaryDirectory(t), temporaryDirectory(t)].map(dir => systemdDriverIn(t, dir));
  await one!.guard.arm(clock.now() + 2000);
  await other!.guard.arm(clock.now() + 600_000);
  const guarded = launch({ guarded: true, token: '1' });
  await one!.start(guarded);
  await other!.start(guarded);
  await exitOf(one!, guarded.unit);
  t.is((await unitOf(other!, guarded.unit))?.exit, null);
  await one!.guard.disarm();
  t.is((await other!.observe()).length, 1);
  t.is((await unitOf(other!, guarded.unit))?.exit, null);
});

real('at the deadline everything exclusive is dead, whatever it forked and whatever it ignores', async t => {
  const driver = systemdDriverIn(t, temporaryDirectory(t));
  const deadlineMs = clock.now() + 3000;
  await driver.guard.arm(deadlineMs);
  const mark = `exclusive-${process.pid}`;
  const stubborn = `trap "" TERM HUP INT; while :; do sleep 0.02; done`;
  const command = `for i in 1 2 3; do setsid sh -c '${stubborn}' ${mark} & done; ${stubborn}`;
  for (const unit of ['a', 'b', 'c']) await driver.start(launch({ unit, command, guarded: true }));
  t.is(processesWith(mark).length > 0, true);
  await until('all of it is dead', () => processesWith(mark).length === 0);
  t.true(clock.now() <= deadlineMs + 500, `${clock.now() - deadlineMs} ms late`);
  for (const unit of ['a', 'b', 'c']) t.is((await exitOf(driver, unit)).signal, 'SIGKILL');
});

real(
  'systemd itself starts nothing exclusive when the lease has ended, whatever the agent believes',
  async t => {
    const stateDir = temporaryDirectory(t);
    const driver = systemdDriverIn(t, stateDir);
    await driver.guard.arm(clock.now() + 600_000);
    systemctl('stop', systemdNames(stateDir).lease);
    const error = await t.throwsAsync(driver.start(launch({ guarded: true })), {
      instanceOf: DriverError,
      message: /guard is not armed/,
    });
    t.true(error.retryable);
    t.deepEqual(await driver.observe(), []);
    // The next arming makes it right.
    await driver.guard.arm(clock.now() + 600_000);
    await driver.start(launch({ guarded: true }));
    t.is((await driver.observe()).length, 1);
  },
);

real('one timer is in force after any number of armings, and none after the last', async t => {
  const stateDir = temporaryDirectory(t);
  const driver = systemdDriverIn(t, stateDir);
  const timers = (): string[] =>
    systemctl('list-units', '--all', '--plain', '--no-legend', systemdNames(stateDir).guardTimers)
      .split('\n')
      .filter(line => line !== '');
  for (let seconds = 10; seconds < 15; seconds++) await driver.guard.arm(clock.now() + seconds * 1000);
  t.is(timers().length, 1);
  // An agent that follows another finds the timer that one left.
  const next = systemdDriverIn(t, stateDir);
  await next.guard.arm(clock.now() + 20_000);
  t.is(timers().length, 1);
  await next.guard.disarm();
  t.deepEqual(timers(), []);
});

real('a guard can be armed again in the very moment in which it has killed', async t => {
  const driver = systemdDriverIn(t, temporaryDirectory(t));
  for (const unit of ['a', 'b', 'c', 'd', 'e']) {
    await driver.guard.arm(clock.now() + 600_000);
    const { pid } = await driver.start(launch({ unit, command: 'exec sleep 300', guarded: true }));
    await driver.guard.arm(clock.now() + 250);
    await until('it is dead', () => !existsSync(`/proc/${pid!}`));
  }
  await driver.guard.arm(clock.now() + 600_000);
  await driver.start(launch({ unit: 'last', guarded: true }));
  t.is((await unitOf(driver, 'last'))?.exit, null);
});

real('what can not be started leaves nothing behind', async t => {
  const stateDir = temporaryDirectory(t);
  const driver = systemdDriverIn(t, stateDir);
  const { service } = { service: systemdNames(stateDir).service('blog-web-0-a') };
  for (const parts of [{ env: { 'NO-NAME': '1' } }, { directory: '/nowhere' }]) {
    await t.throwsAsync(driver.start(launch({ token: '1', process: processSpec({}), ...parts })), {
      instanceOf: DriverError,
      message: /^can't start blog-web-0-a: /,
    });
  }
  t.deepEqual(await driver.observe(), []);
  t.deepEqual(readdirSync(join(stateDir, 'units', 'systemd')), []);
  t.false(existsSync(join(stateDir, 'tokens', 'systemd', 'blog-web-0-a')));
  t.regex(systemctl('show', '--property=LoadState', service), /not-found/);
});

real('what was started but can not be asked about stays known until it is known to be gone', async t => {
  const stateDir = temporaryDirectory(t);
  const driver = systemdDriverIn(t, stateDir);
  const { mute, unmute } = mutedSystemctl(t);
  const mark = `unasked-${process.pid}`;
  t.deepEqual(await driver.observe(), []);
  mute();
  const error = await t.throwsAsync(
    driver.start(launch({ command: `sleep 300; : ${mark}`, env: { PATH }, token: '1' })),
    { instanceOf: DriverError, message: /^can't start blog-web-0-a: it says nothing today/ },
  );
  t.true(error.retryable);
  t.is(processesWith(mark).length > 0, true);
  t.deepEqual(
    (await driver.observe()).map(({ unit, exit }) => ({ unit, exit })),
    [{ unit: 'blog-web-0-a', exit: null }],
  );
  await t.throwsAsync(driver.start(launch()), { message: /exists already/ });
  t.deepEqual(readdirSync(join(stateDir, 'tokens', 'systemd')), []);
  unmute();
  await driver.stop('blog-web-0-a', 0);
  t.deepEqual(processesWith(mark), []);
  t.true((await exitOf(driver, 'blog-web-0-a')).requested);
  await driver.forget('blog-web-0-a');
  t.deepEqual(await driver.observe(), []);
});

real(
  'an exit is told though the journal does not answer, and a stop of something exclusive at once',
  async t => {
    const driver = systemdDriverIn(t, temporaryDirectory(t));
    await driver.guard.arm(clock.now() + 600_000);
    const plain = await driver.start(launch({ unit: 'plain' }));
    const exclusive = await driver.start(launch({ unit: 'exclusive', guarded: true }));
    const journal = 'systemd-journald.service';
    t.teardown(() => systemctl('kill', '--signal=CONT', journal));
    systemctl('kill', '--signal=STOP', journal);
    await driver.stop(exclusive.unit, 5);
    await driver.stop(plain.unit, 5);
    for (const { unit } of [exclusive, plain]) {
      t.like(await exitOf(driver, unit), {
        signal: 'SIGTERM',
        requested: true,
        lastOutput: ["its output can't be read: the journal was not waited for any longer"],
      });
    }
  },
);

/** systemctl itself, for everybody on the machine: such a test runs alone. */
function mutedSystemctl(t: ExecutionContext): { mute: () => void; unmute: () => void } {
  const file = join(temporaryDirectory(t), 'systemctl');
  writeFileSync(file, '#!/bin/sh\necho "it says nothing today" >&2\nexit 1\n', { mode: 0o755 });
  let muted = false;
  const unmute = (): void => {
    if (muted) execFileSync('umount', ['/usr/bin/systemctl']);
    muted = false;
  };
  const mute = (): void => {
    execFileSync('mount', ['--bind', file, '/usr/bin/systemctl']);
    muted = true;
  };
  t.teardown(unmute);
  return { mute, unmute };
}

function userOf(stateDir: string): { name: string; uid: number } {
  const name = systemdNames(stateDir).user(INSTANCE);
  return { name, uid: Number(execFileSync('id', ['-u', name], { encoding: 'utf8' })) };
}
