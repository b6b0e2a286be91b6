import test, { type ExecutionContext } from 'ava';
import { agentRoutes } from '../../src/api/routes/agents.ts';
import { FakeAdmin } from '../support/fake-admin.ts';
import { FakeNamedAgents } from '../support/fake-named-agents.ts';
import { servedAdmin } from '../support/served-admin.ts';
import { itemsOf, ran, type Circumstances } from './captured-io.ts';

const started = { kind: 'started', node: 'n1', holder: 'command:1', token: '7' } as const;
const output = { kind: 'output', stream: 'stdout', text: 'hello', cursor: 'u~1~0' } as const;
const ended = { kind: 'ended', code: 0, signal: null, reason: null, released: true } as const;

async function withAgents(t: ExecutionContext) {
  const agents = new FakeNamedAgents();
  const api = await servedAdmin(t, {
    admin: FakeAdmin.seeded(),
    extraRoutes: agentRoutes(agents, new FakeAdmin()),
  });
  return {
    agents,
    run: (argv: string[], circumstances: Circumstances = {}) =>
      ran(argv, { ...circumstances, env: { HOP3_AGENT_API: api.url, ...circumstances.env } }),
  };
}

test('own hands over the command with its environment and directory, and shows what it writes', async t => {
  const { agents, run } = await withAgents(t);
  agents.script = [started, output, { ...output, stream: 'stderr', text: 'oh' }, ended];
  const { exitCode, stdout, stderr } = await run(
    ['own', 'nightly', '--wait', '--timeout', '9', '--stop-timeout', '1.5', '--', 'tar', '-x', '--json'],
    { cwd: '/somewhere', env: { GREETING: 'hi' } },
  );
  t.deepEqual({ exitCode, stdout, stderr }, { exitCode: 0, stdout: 'hello\n', stderr: 'oh\n' });
  t.like(agents.runs[0], {
    command: ['tar', '-x', '--json'],
    directory: '/somewhere',
    wait: true,
    timeoutSeconds: 9,
    stopTimeoutSeconds: 1.5,
  });
  t.is(agents.runs[0]!.env['GREETING'], 'hi');
});

const ends: [what: string, end: object, exitCode: number][] = [
  ['its own code', { code: 42 }, 42],
  ['128 and the number of the signal', { code: null, signal: 'SIGKILL' }, 137],
  ['1 when nobody knows how it ended', { code: null, reason: 'it could not be started' }, 1],
];
for (const [what, end, expected] of ends) {
  test(`own exits with ${what}`, async t => {
    const { agents, run } = await withAgents(t);
    agents.script = [started, { ...ended, ...end }];
    t.is((await run(['own', 'nightly', '--', 'x'])).exitCode, expected);
  });
}

test('own says what it waits for, why the command is stopped, and what could not be released', async t => {
  const { agents, run } = await withAgents(t);
  agents.script = [
    { kind: 'waiting', ahead: 2, reason: 'nightly is held by a on n2 since today' },
    started,
    { kind: 'stopping', reason: 'the session is lost' },
    { ...ended, code: null, signal: 'SIGTERM', released: false },
  ];
  const { exitCode, stdout, stderr } = await run(['own', 'nightly', '--wait', '--', 'x']);
  t.is(exitCode, 143);
  t.is(stdout, '');
  t.regex(stderr, /waiting for nightly: nightly is held by a on n2 since today \(2 before this one\)/);
  t.regex(stderr, /stopping: the session is lost/);
  t.regex(stderr, /could not be told yet that nightly is free/);
});

test('own --json tells each step in a line', async t => {
  const { agents, run } = await withAgents(t);
  agents.script = [started, output, ended];
  const result = await run(['own', 'nightly', '--json', '--', 'x']);
  t.deepEqual(itemsOf(result), [started, output, ended]);
});

test('own exits with 6 when the name is taken, and says by whom', async t => {
  const { agents, run } = await withAgents(t);
  await agents.request('nightly', { holder: 'a', wait: false, waitSeconds: 0, ttlSeconds: 9, token: null });
  const { exitCode, stderr } = await run(['own', 'nightly', '--', 'x']);
  t.is(exitCode, 6);
  t.regex(stderr, /error: nightly is held by a on n1 since/);
  t.regex(stderr, /hint: --wait waits its turn/);
});

test('own listens again after the last line when the connection breaks off', async t => {
  const { agents, run } = await withAgents(t);
  agents.script = [started, output];
  const attach = agents.attach.bind(agents);
  agents.attach = (name, id, after) => {
    agents.script = agents.attaches.length === 0 ? [started] : [started, { ...output, text: 'again' }, ended];
    return attach(name, id, after);
  };
  const { exitCode, stdout, stderr } = await run(['own', 'nightly', '--', 'x']);
  t.is(exitCode, 0);
  t.is(stdout, 'hello\nagain\n');
  t.deepEqual(
    agents.attaches.map(({ after }) => after),
    ['u~1~0', 'u~1~0'],
  );
  t.regex(stderr, /trying again/);
});

test('own asks the command to end at the first interruption, and kills it at the second', async t => {
  const { agents, run } = await withAgents(t);
  const stop = agents.stopCommand.bind(agents);
  let interrupt: (times: number) => void = () => undefined;
  let know: () => void = () => undefined;
  const known = new Promise<void>(resolve => (know = resolve));
  agents.run = async function* (_name, request) {
    agents.runs.push(request);
    yield started;
    // Before that it would only leave.
    await known;
    const asked = (count: number) =>
      new Promise<void>(resolve => {
        agents.stopCommand = (name, id, kill) => {
          stop(name, id, kill);
          if (agents.stops.length === count) resolve();
        };
      });
    for (const times of [1, 2]) {
      const done = asked(times);
      interrupt(times);
      await done;
    }
    yield { ...ended, code: null, signal: 'SIGKILL' };
  };
  const { exitCode } = await run(['own', 'nightly', '--json', '--', 'x'], {
    onListening: listener => (interrupt = listener),
    onStdout: soFar => {
      if (soFar.includes('started')) know();
    },
  });
  t.is(exitCode, 137);
  t.deepEqual(
    agents.stops.map(({ kill }) => kill),
    [false, true],
  );
});

test('agents shows who has what and who waits', async t => {
  const { agents, run } = await withAgents(t);
  await agents.request('nightly', { holder: 'a', wait: false, waitSeconds: 0, ttlSeconds: 9, token: null });
  const { stdout } = await run(['agents']);
  t.regex(stdout, /^NAME +STATE +OWNER +HOLDER +TOKEN +SINCE +WAITERS +ASKED FOR HERE +WHY$/m);
  t.regex(
    stdout,
    /^nightly +Assigned +n1 +a +7 +2026-01-01T00:00:00.000Z +next@n2 +a Assigned +owned by n1$/m,
  );
});

test('release asks the owner and waits until it is done', async t => {
  const { agents, run } = await withAgents(t);
  await agents.request('nightly', { holder: 'a', wait: false, waitSeconds: 0, ttlSeconds: 9, token: null });
  const { exitCode, stdout, stderr } = await run(['release', 'nightly']);
  t.is(exitCode, 0);
  t.is(stdout, 'nightly: Inactive\n');
  t.is(stderr, 'n1 stops a and releases nightly\n');
  t.is((await run(['release', 'nightly'])).exitCode, 6);
});

test('release --may-still-run takes an instance by its own name', async t => {
  const { agents, run } = await withAgents(t);
  t.is((await run(['release', 'blog/web/0', '--may-still-run', 'n3'])).exitCode, 0);
  t.deepEqual(agents.cleared, ['instance/blog/web/0@n3']);
  const bare = await run(['release', 'blog/web/0']);
  t.is(bare.exitCode, 2);
  t.regex(bare.stderr, /--may-still-run NODE/);
});

test('what cannot be a name is a mistake of usage', async t => {
  const { exitCode, stderr } = await ran(['own', 'Not/A/Name', '--', 'x']);
  t.is(exitCode, 2);
  t.regex(stderr, /"Not\/A\/Name" cannot be a name/);
});

test('own --help says what happens when the command line is gone', async t => {
  const { stdout } = await ran(['own', '--help']);
  t.regex(stdout, /gone for\s+10 s/);
  t.regex((await ran(['release', '--help'])).stdout, /your word against a second copy/);
});
