import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { hop3, isAlive, MAIN, startCluster, type TestCluster, type TestNode } from '../support/cluster.ts';
import { until } from '../support/until.ts';

/** The shortest that leaves room for a stop timeout of 1 s (rule 7). */
const LEASE_TTL_SECONDS = 8;
const MOVED_WITHIN_MS = 2 * LEASE_TTL_SECONDS * 1000 + 20_000;
const SHORT = ['--stop-timeout', '1'];

let cluster: TestCluster;
test.before(async () => {
  cluster = await startCluster({ nodes: 2, leaseTtlSeconds: LEASE_TTL_SECONDS });
});
test.after.always(() => cluster.stop());

/** Writes `<µs of the machine's monotonic clock> <token> <node>` every 20 ms, until it is ended. */
const WITNESS = `
  const { appendFileSync } = require('fs');
  const say = () => appendFileSync(process.argv[1], [process.hrtime.bigint() / 1000n, process.env.HOP3_FENCING_TOKEN, process.argv[2]].join(' ') + '\\n');
  say(); setInterval(say, 20);
`;

interface Running {
  child: ChildProcess;
  ended: Promise<{ code: number | null; signal: string | null }>;
  stdout: () => string;
  stderr: () => string;
}

/** A command line of a person's, in a process of its own. */
function own(t: ExecutionContext, node: TestNode, args: string[], env: NodeJS.ProcessEnv = {}): Running {
  const child = spawn(process.execPath, [MAIN, 'own', ...args], {
    env: { ...process.env, NO_COLOR: '1', HOP3_AGENT_API: node.url, ...env },
    cwd: cluster.directory,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const ended = once(child, 'close').then(([code, signal]) => ({
    code: code as number | null,
    signal: signal as string | null,
  }));
  return { child, ended, stdout: () => stdout, stderr: () => stderr };
}

function witness(t: ExecutionContext, node: TestNode, name: string, options: string[] = []): Running {
  const file = join(cluster.directory, name);
  return own(t, node, [name, ...SHORT, ...options, '--', process.execPath, '-e', WITNESS, file, node.name]);
}

interface Span {
  token: bigint;
  node: string;
  firstUs: bigint;
  lastUs: bigint;
}

/** When each token was seen at work, in order of its first sign. */
function spans(name: string): Span[] {
  const found = new Map<string, Span>();
  const file = join(cluster.directory, name);
  if (!existsSync(file)) return [];
  for (const line of readFileSync(file, 'utf8').trim().split('\n')) {
    const [atUs = '', token = '', node = ''] = line.split(' ');
    const span = found.get(token) ?? {
      token: BigInt(token),
      node,
      firstUs: BigInt(atUs),
      lastUs: 0n,
    };
    found.set(token, { ...span, lastUs: BigInt(atUs) });
  }
  return [...found.values()];
}

/** The smallest pause between two at work, in ms. @throws Error when tokens do not grow */
function smallestGapMs(name: string): number {
  const all = spans(name);
  const gaps = all.slice(1).map((span, index) => {
    const before = all[index]!;
    if (span.token <= before.token) throw new Error(`token ${span.token} came after ${before.token}`);
    return Number(span.firstUs - before.lastUs) / 1000;
  });
  return Math.min(...gaps);
}

/** A process whose agent is frozen is nobody's to bury, so its pid tells nothing. */
function isQuiet(name: string): boolean {
  return process.hrtime.bigint() / 1000n - spans(name).at(-1)!.lastUs > 500_000n;
}

const nodes = (): [TestNode, TestNode] => [cluster.nodes[0]!, cluster.nodes[1]!];

/** Resolves with the pid of the guard it runs under, which dies with it. */
async function atWork(name: string, node: TestNode, limitMs = MOVED_WITHIN_MS): Promise<number> {
  await until(`${name} is at work on ${node.name}`, () => spans(name).at(-1)?.node === node.name, limitMs);
  return pidOf(node, name);
}

const codes: [what: string, script: string, code: number][] = [
  ['nothing went wrong', 'exit 0', 0],
  ['it failed', 'exit 42', 42],
  ['a signal ended it', 'kill -TERM $$', 143],
  ['it was killed', 'kill -KILL $$', 137],
];
for (const [what, script, code] of codes) {
  test.serial(`own exits as its command did: ${what}`, async t => {
    const run = own(t, nodes()[0], ['codes', ...SHORT, '--', 'sh', '-c', script]);
    t.deepEqual(await run.ended, { code, signal: null }, run.stderr());
  });
}

test.serial(
  'output, environment, directory and token are as of the caller, and the token is in a file too',
  async t => {
    const script =
      'echo "$GREETING from $PWD"; echo problem >&2; test "$HOP3_FENCING_TOKEN" = "$(cat "$HOP3_FENCING_TOKEN_FILE")" && echo fenced; printf unfinished';
    const run = own(t, nodes()[0], ['words', ...SHORT, '--', 'sh', '-c', script], { GREETING: "it's me" });
    t.is((await run.ended).code, 0);
    t.is(run.stdout(), `it's me from ${cluster.directory}\nfenced\nunfinished\n`);
    t.is(run.stderr(), 'problem\n');
  },
);

test.serial('output comes while the command runs', async t => {
  const run = own(t, nodes()[0], ['early', ...SHORT, '--', 'sh', '-c', 'echo first; sleep 30']);
  await until('the first line is there', () => run.stdout() === 'first\n');
  t.is(run.child.exitCode, null);
  run.child.kill('SIGINT');
  t.is((await run.ended).code, 143);
});

test.serial(
  'a command that cannot be had is told: not found, no such directory, a stop timeout too long',
  async t => {
    const missing = own(t, nodes()[0], ['words', ...SHORT, '--', '/no/such/program']);
    t.is((await missing.ended).code, 127);
    const slow = own(t, nodes()[0], ['words', '--stop-timeout', '60', '--', 'true']);
    t.is((await slow.ended).code, 1);
    t.regex(slow.stderr(), /stop-timeout 60 s .* a lease-ttl of \d+ s works/);
  },
);

test.serial(
  'who finds the name taken exits with 6 and says by whom, on the same node and on another',
  async t => {
    const [here, there] = nodes();
    const first = witness(t, here, 'taken');
    await atWork('taken', here);
    for (const node of [here, there]) {
      const second = own(t, node, ['taken', ...SHORT, '--', 'true']);
      t.is((await second.ended).code, 6);
      t.regex(second.stderr(), /error: taken is held by command:\S+ on node-1 since \d{4}-/);
    }
    const { stdout } = await hop3(['agents'], there.url);
    t.regex(stdout, /^taken +Assigned +node-1 +command:\S+ +\d+ /m);
    first.child.kill('SIGTERM');
    t.is((await first.ended).code, 143);
    await until('it is free', async () => (await there.api.agentNamed('taken')).state === 'Unassigned');
  },
);

test.serial('those who wait have their turn in the order in which they came, one at a time', async t => {
  const [here, there] = nodes();
  const first = witness(t, here, 'turns');
  await atWork('turns', here);
  const order = join(cluster.directory, 'order');
  const runs: Running[] = [];
  for (let turn = 0; turn < 4; turn++) {
    const script = `echo begin ${turn} >> ${order}; sleep 0.3; echo end ${turn} >> ${order}`;
    runs.push(own(t, turn % 2 ? here : there, ['turns', ...SHORT, '--wait', '--', 'sh', '-c', script]));
    await until('it waits', async () => (await here.api.agentNamed('turns')).waiters.length === turn + 1);
  }
  t.regex(runs[0]!.stderr(), /waiting for turns: turns is held by command/);
  first.child.kill('SIGINT');
  t.deepEqual(
    (await Promise.all(runs.map(({ ended }) => ended))).map(({ code }) => code),
    [0, 0, 0, 0],
  );
  t.deepEqual(
    readFileSync(order, 'utf8').trim().split('\n'),
    [0, 1, 2, 3].flatMap(turn => [`begin ${turn}`, `end ${turn}`]),
  );
});

test.serial(
  'waiting ends after its timeout with 6, and with 130 at Ctrl-C; neither keeps its place',
  async t => {
    const [here, there] = nodes();
    const first = witness(t, here, 'patience');
    await atWork('patience', here);
    const late = own(t, there, ['patience', ...SHORT, '--wait', '--timeout', '1', '--', 'true']);
    t.is((await late.ended).code, 6);
    const bored = own(t, there, ['patience', ...SHORT, '--wait', '--', 'true']);
    await until('it waits', () => bored.stderr().includes('waiting'));
    bored.child.kill('SIGINT');
    t.is((await bored.ended).code, 130);
    await until('nobody waits', async () => (await here.api.agentNamed('patience')).waiters.length === 0);
    first.child.kill('SIGINT');
    await first.ended;
  },
);

test.serial('a second Ctrl-C kills what takes too long to end', async t => {
  const script = `trap '' TERM; echo ready; while :; do sleep 0.1; done`;
  const run = own(t, nodes()[0], ['stubborn', ...SHORT, '--', 'sh', '-c', script]);
  await until('it is ready', () => run.stdout() === 'ready\n');
  run.child.kill('SIGINT');
  await until('it was asked', () => run.stderr().includes('stopping'));
  run.child.kill('SIGINT');
  t.is((await run.ended).code, 137);
});

test.serial(
  'a command line that is killed takes its command with it, after the grace it is given to come back',
  async t => {
    const [here, there] = nodes();
    const run = witness(t, here, 'orphan');
    const pid = await atWork('orphan', here);
    run.child.kill('SIGKILL');
    await run.ended;
    t.true(isAlive(pid));
    await until('it is dead', () => !isAlive(pid));
    await until('it is free', async () => (await there.api.agentNamed('orphan')).state === 'Unassigned');
  },
);

test.serial('an operator releases it from another node', async t => {
  const [here, there] = nodes();
  const run = witness(t, here, 'recalled');
  const pid = await atWork('recalled', here);
  const { code, stdout } = await hop3(['release', 'recalled'], there.url);
  t.is(code, 0);
  t.regex(stdout, /recalled: Unassigned/);
  t.false(isAlive(pid));
  t.is((await run.ended).code, 143);
  t.regex(run.stderr(), /stopping: an operator asked for it/);
});

test.serial(
  'an agent that is replaced keeps the command, its token and its exit code; the command line listens on',
  async t => {
    // A lease so long that no machine is too slow to be back before its end.
    const patient = await startCluster({ nodes: 1, leaseTtlSeconds: 60 });
    t.teardown(() => patient.stop());
    const [here] = patient.nodes as [TestNode];
    const go = join(cluster.directory, 'go');
    const script = `echo $$ "$HOP3_FENCING_TOKEN"; while [ ! -e ${go} ]; do sleep 0.05; done; echo after; exit 5`;
    const run = own(t, here, ['upgraded', ...SHORT, '--', 'sh', '-c', script]);
    await until('it runs', () => run.stdout() !== '');
    const [pid = '', token = ''] = run.stdout().trim().split(' ');
    await here.end('SIGTERM');
    await here.start();
    await here.ready();
    await until('it has the name again', async () => (await here.api.agentNamed('upgraded')).token === token);
    t.true(isAlive(await pidOf(here, 'upgraded')));
    appendFileSync(go, '');
    t.deepEqual(await run.ended, { code: 5, signal: null }, run.stderr());
    t.is(run.stdout(), `${pid} ${token}\nafter\n`);
    t.regex(run.stderr(), /trying again/);
  },
);

/** Of the process that runs under a name, as seen from outside its namespace. */
async function pidOf(node: TestNode, name: string): Promise<number> {
  const directory = join(node.stateDir, 'own/units/process');
  const file = await until(`${name} is on file`, async () =>
    (await readdir(directory)).find(each => each.startsWith(name) && each.endsWith('.json')),
  );
  return (JSON.parse(readFileSync(join(directory, file), 'utf8')) as { pid: number }).pid;
}

for (const [what, signal] of [
  ['frozen', 'SIGSTOP'],
  ['killed', 'SIGKILL'],
] as const) {
  test.serial(`an agent that is ${what}: its command is dead before the next in line begins`, async t => {
    const [here, there] = nodes();
    const name = `fenced-${what}`;
    const first = witness(t, here, name);
    await atWork(name, here);
    const next = witness(t, there, name, ['--wait']);
    await until('it waits', async () => (await there.api.agentNamed(name)).waiters.length === 1);
    t.teardown(() => {
      if (signal === 'SIGSTOP') here.signal('SIGCONT');
    });
    if (signal === 'SIGSTOP') here.signal(signal);
    else await here.end(signal);
    await until('the guard has killed it', () => isQuiet(name), LEASE_TTL_SECONDS * 1000);
    t.is(spans(name).length, 1);
    await atWork(name, there);
    if (signal === 'SIGSTOP') here.signal('SIGCONT');
    else await here.start();
    await here.ready();
    const { code } = await first.ended;
    t.not(code, 0, first.stderr());
    const gapMs = smallestGapMs(name);
    t.log(`${spans(name).length} owners, smallest gap ${Math.round(gapMs)} ms; the first ended with ${code}`);
    t.true(gapMs > 0);
    next.child.kill('SIGINT');
    await next.ended;
    t.is(spans(name).length, 2);
  });
}
