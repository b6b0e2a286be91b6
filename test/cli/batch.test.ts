import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { planRoutes } from '../../src/api/routes/plans.ts';
import { scheduleRoutes } from '../../src/api/routes/schedules.ts';
import { INTERRUPTED } from '../../src/cli/io.ts';
import type { PlanChange, PlanView } from '../../src/model/plan-views.ts';
import { FakeAdmin } from '../support/fake-admin.ts';
import { FakePlans } from '../support/fake-plans.ts';
import { servedAdmin } from '../support/served-admin.ts';
import { answerOf, type Circumstances, itemsOf, ran, type Ran } from './captured-io.ts';
import { directoryWith } from './temporary-directory.ts';
import { eachChange } from '../support/plan-feeds.ts';

const completed = { kind: 'completed', output: null } as const;
const failed = { kind: 'failed', type: 'FATAL', error: 'no such host' } as const;

const chain = `kind: Plan
title: Nightly
steps:
  - {name: fetch, agent: http, resource: "https://example.com"}
  - {name: load, agent: command, resource: ./load, depends-on: [fetch]}
`;
const nightly = `${chain}schedule: {name: nightly, cron: "@daily", time-zone: Europe/Berlin}\n`;

async function withPlans(t: ExecutionContext) {
  const plans = new FakePlans();
  const admin = FakeAdmin.seeded();
  const api = await servedAdmin(t, {
    admin,
    extraRoutes: [...planRoutes(plans, eachChange(plans)), ...scheduleRoutes(plans)],
  });
  const cwd = await directoryWith(t, { 'plan.yaml': chain, 'nightly.yaml': nightly });
  const write = (name: string, text: string | Uint8Array) => writeFileSync(join(cwd, name), text);
  return {
    plans,
    admin,
    write,
    run: (argv: string[], circumstances: Circumstances = {}) =>
      ran(argv, { cwd, ...circumstances, env: { HOP3_AGENT_API: api.url, ...circumstances.env } }),
  };
}

/** Both steps end as they are told to. */
function inTurn(plans: FakePlans, ...results: Parameters<FakePlans['finish']>[2][]): (id: string) => void {
  return id => {
    plans.begin(id);
    results.forEach((result, index) => plans.finish(id, index, result));
  };
}

test('submit hands in the plan of a file and prints its id', async t => {
  const { plans, run } = await withPlans(t);
  const { exitCode, stdout } = await run(['batch', 'submit', 'plan.yaml']);
  t.deepEqual({ exitCode, stdout }, { exitCode: 0, stdout: 'plan-1\n' });
  t.deepEqual(plans.submissions[0]!.spec.steps[1], {
    name: 'load',
    agent: 'command',
    resource: './load',
    dependsOn: [0],
  });
});

test('submit takes a plan from stdin, with payloads from files as they are', async t => {
  const { plans, run, write } = await withPlans(t);
  write('data.json', '{"a": 1}\r\n\ufeff');
  const stdin =
    'kind: Plan\non-failure: compensate\nsteps: [{agent: noop, payload-file: data.json, compensate: {agent: noop, payload-file: data.json}}]';
  t.is((await run(['batch', 'submit', '-'], { stdin })).exitCode, 0);
  const payload = { mimeType: 'application/json', text: '{"a": 1}\r\n\ufeff' };
  t.like(plans.submissions[0]!.spec.steps[0], { payload, compensate: { payload } });
});

test('submit under a key makes one plan, and another plan under it is a conflict', async t => {
  const { plans, run, write } = await withPlans(t);
  const line = ['batch', 'submit', 'plan.yaml', '--idempotency-key', 'k1'];
  await run(line);
  const { stdout, stderr } = await run(line);
  t.is(stdout, 'plan-1\n');
  t.regex(stderr, /plan-1 was submitted before under that key/);
  t.is(plans.submissions.length, 1);
  write('plan.yaml', chain.replace('fetch, agent', 'fetch, timeout: 5, agent'));
  t.is((await run(line)).exitCode, 6);
});

const notOne: [what: string, text: string, exitCode: number, stderr: RegExp][] = [
  ['an app', 'metadata: {id: blog}\nrun: {start: x}\n', 2, /holds 0 plans and 1 app, not one plan/],
  ['two plans', `${chain}---\n${chain}`, 2, /holds 2 plans, not one plan/],
  [
    'a mistake',
    chain.replace('[fetch]', '[fetsh]'),
    1,
    /plan\.yaml:5:\d+: error: steps\[1\]\.depends-on\[0\]/,
  ],
  [
    'a file that is not there',
    `${chain}  - {agent: noop, payload-file: gone.txt}\n`,
    1,
    /plan\.yaml:6:33: error: steps\[2\]\.payload-file: there is no file .*gone\.txt/,
  ],
];
for (const [what, text, exitCode, stderr] of notOne) {
  test(`submit refuses a file with ${what}`, async t => {
    const { plans, run, write } = await withPlans(t);
    write('plan.yaml', text);
    const result = await run(['batch', 'submit', 'plan.yaml']);
    t.is(result.exitCode, exitCode);
    t.regex(result.stderr, stderr);
    t.deepEqual(plans.submissions, []);
  });
}

test('submit tells what only the cluster knows to be wrong along with what is wrong here', async t => {
  const { plans, run, write } = await withPlans(t);
  const text = `${chain.replace('fetch, agent', 'fetch, timeout: -1, agent').replace('https://example.com', 'here')}
  - {agent: http, resource: 7, arguments: {verb: GET}}
  - {agent: http, resource: "https://a/{{9}}", arguments: {verb: GET}, depends-on: [lode]}
  - {agent: http, resource: there}
`;
  write('plan.yaml', text);
  const told = ({ stderr }: Ran) =>
    stderr.split('\n').flatMap(line => /^plan\.yaml:\S+ error: (\S+):/.exec(line)?.[1] ?? []);
  const here = ['steps[0].timeout', 'steps[2].resource', 'steps[3].depends-on[0]'];
  const asked = await run(['batch', 'submit', 'plan.yaml']);
  t.is(asked.exitCode, 1);
  t.deepEqual(told(asked), [
    'steps[0].timeout',
    'steps[0].resource',
    'steps[2].resource',
    'steps[2].arguments.verb',
    'steps[3].arguments.verb',
    'steps[3].depends-on[0]',
    'steps[4].resource',
  ]);
  t.regex(asked.stderr, /nothing was submitted: 7 problems to solve first/);
  const alone = await run(['batch', 'submit', 'plan.yaml', '--api', 'http://127.0.0.1:9']);
  t.is(alone.exitCode, 1);
  t.deepEqual(told(alone), here);
  t.deepEqual(plans.submissions, []);
});

test('plan and apply tell what the cluster has against some documents along with what is wrong in others', async t => {
  const { plans, admin, run, write } = await withPlans(t);
  const before = admin.apps();
  const taken = before.items.find(({ hostnames }) => hostnames.length > 0)?.hostnames[0] ?? '';
  const app = (id: string, more: string) => `metadata: {id: ${id}}\nrun: {start: ./run}\n${more}\n`;
  write('run', '');
  const documents = [
    app('first', `source: {path: .}\ndomains: {list: [${taken}]}`),
    app('second', 'source: {path: .}\nscale: {web: many}'),
    chain.replace('https://example.com', 'here'),
    chain.replace('fetch, agent', 'fetch, timeout: -1, agent').replace('https://example.com', 'there'),
  ];
  write('all.yaml', documents.join('---\n'));
  for (const command of ['plan', 'apply']) {
    const { exitCode, stderr } = await run([command, 'all.yaml']);
    t.is(exitCode, 1);
    t.deepEqual(
      stderr
        .split('\n')
        .flatMap(line => /^all\.yaml:(\d+):\d+: error: (\S+):/.exec(line)?.slice(1).join(' ') ?? []),
      [
        '4 domains.list',
        '9 scale.web',
        '14 steps[0].resource',
        '20 steps[0].timeout',
        '20 steps[0].resource',
      ],
    );
    t.regex(stderr, /nothing was changed: 5 problems to solve first/);
  }
  t.deepEqual(plans.submissions, []);
  t.deepEqual(admin.apps(), before);
});

test('a payload file that is no text is refused', async t => {
  const { run, write } = await withPlans(t);
  write('data.bin', Uint8Array.of(0xff, 0xfe, 0x00));
  write('plan.yaml', `${chain}  - {agent: noop, payload-file: data.bin}\n`);
  t.regex((await run(['batch', 'submit', 'plan.yaml'])).stderr, /data\.bin is not text in UTF-8/);
});

test('what only the cluster knows to be wrong is shown in the file all the same', async t => {
  const { run, write } = await withPlans(t);
  const text = chain.replace('https://example.com', 'example');
  write('plan.yaml', text);
  write('nightly.yaml', `${text}schedule: {name: nightly, cron: "@daily"}\n`);
  const lines = [
    ['batch', 'submit', 'plan.yaml'],
    ['plan', 'plan.yaml'],
    ['apply', 'nightly.yaml'],
  ];
  for (const line of lines) {
    const { exitCode, stderr } = await run(line);
    t.is(exitCode, 1, line.join(' '));
    t.regex(stderr, /\.yaml:4:42: error: steps\[0\]\.resource: "example" is not an address/, line.join(' '));
    t.regex(stderr, /\n {2} {2}- \{name: fetch, agent: http/, line.join(' '));
  }
});

test('--wait tells each change in a line, and exits with 0 when the plan has completed', async t => {
  const { plans, run } = await withPlans(t);
  plans.whenWatched = inTurn(plans, completed, completed);
  const { exitCode, stdout, stderr } = await run(['batch', 'submit', 'plan.yaml', '--wait']);
  t.is(exitCode, 0);
  t.is(stdout, 'plan-1: completed, 2 completed\n');
  t.deepEqual(stderr.trim().split('\n'), [
    'plan-1: submitted',
    'plan-1: pending',
    'step 0 (fetch): running on n1',
    'plan-1: running',
    'step 0 (fetch): completed',
    'step 1 (load): running on n1',
    'step 1 (load): completed',
  ]);
});

test('apply --wait with several plans tells of each when it has ended, and then of all', async t => {
  const { plans, run, write } = await withPlans(t);
  plans.whenWatched = inTurn(plans, completed, completed);
  write('both.yaml', `${chain}---\n${chain}`);
  const { stdout, stderr } = await run(['apply', 'both.yaml', '--wait', '--timeout', '36000']);
  t.deepEqual(stderr.match(/^plan-\d: completed$/gm)?.sort(), ['plan-1: completed', 'plan-2: completed']);
  t.is(stdout, 'plan-1: completed, 2 completed\nplan-2: completed, 2 completed\n');
});

test('--wait exits with 1 when the plan has failed, and says what failed and what to do', async t => {
  const { plans, run } = await withPlans(t);
  plans.whenWatched = inTurn(plans, failed);
  plans.troubles = ['step 0: no such host', 'step 10: it may still run'];
  const { exitCode, stdout, stderr } = await run(['batch', 'submit', 'plan.yaml', '--wait']);
  t.is(exitCode, 1);
  t.is(stdout, 'plan-1: failed, 1 failed, 1 skipped\n');
  t.regex(stderr, /step 0 \(fetch\): failed: no such host\n/);
  const [, told] = stderr.split('error: plan-1 is failed: 1 failed, 1 skipped\n');
  t.regex(
    told ?? '',
    /^ {2}\| step 0 \(fetch\): failed: no such host\n {2}\| step 10: it may still run\nhint/,
  );
  t.regex(stderr, /hint: hop3-agent batch retry plan-1 does what failed again/);
});

test('--wait --json answers with the plan as it ended, and nothing else', async t => {
  const { plans, run } = await withPlans(t);
  plans.whenWatched = inTurn(plans, completed, completed);
  const result = await run(['batch', 'submit', 'plan.yaml', '--wait', '--json']);
  t.like(answerOf<PlanView>(result), { plan: 'plan-1', state: 'COMPLETED', counts: { COMPLETED: 2 } });
  t.is(result.stderr, '');
});

test('--wait --timeout gives up with 1, and Ctrl-C with 130: both say that the plan goes on', async t => {
  const { plans, run } = await withPlans(t);
  const late = await run(['batch', 'submit', 'plan.yaml', '--wait', '--timeout', '1']);
  t.is(late.exitCode, 1);
  t.regex(late.stderr, /after 1 s plan-1 has not ended/);
  t.regex(late.stderr, /batch status plan-1 --watch/);
  const interrupt = new AbortController();
  // The first one's watch may begin when nobody waits for it any more.
  plans.whenWatched = id => {
    if (id === 'plan-2') interrupt.abort(INTERRUPTED);
  };
  const left = await run(['batch', 'submit', 'plan.yaml', '--wait'], { signal: interrupt.signal });
  t.is(left.exitCode, 130);
  t.regex(left.stderr, /plan-2 goes on: hop3-agent batch status plan-2 --watch shows it/);
});

test('a terminal sees one line that is written over, and what went wrong', async t => {
  const { plans, run } = await withPlans(t);
  plans.whenWatched = inTurn(plans, failed);
  const { stdout } = await run(['batch', 'status', 'plan-1', '--watch'], { isTty: true });
  t.is(stdout, '');
  await run(['batch', 'submit', 'plan.yaml']);
  const watched = await run(['batch', 'status', 'plan-1', '--watch', '--no-color'], { isTty: true });
  t.is(watched.exitCode, 1);
  const lines = watched.stdout.split(/[\r\n]/).map(line => line.replace('\u001b[K', ''));
  t.is(lines.at(-2), 'plan-1: failed [====================] 2/2  1 failed, 1 skipped');
  t.true(lines.includes('step 0 (fetch): failed: no such host'));
});

test('status shows the plan and what went wrong in it, or all its steps', async t => {
  const { plans, run } = await withPlans(t);
  await run(['batch', 'submit', 'plan.yaml', '--idempotency-key', 'k1']);
  inTurn(plans, failed)('plan-1');
  const { stdout } = await run(['batch', 'status', 'plan-1']);
  t.regex(stdout, /^plan: +plan-1 \(Nightly\)\nstate: +failed\nsteps: +1 failed, 1 skipped\n/);
  t.regex(stdout, /key: +k1\n/);
  t.regex(stdout, /\n\nstep 0 \(fetch\): failed: no such host\n$/);
  const { stdout: table } = await run(['batch', 'status', 'plan-1', '--steps']);
  t.regex(table, /^STEP +NAME +STATE +ATTEMPT +AGENT +RESOURCE +AFTER +NODE +TROUBLE$/m);
  t.regex(table, /^0 +fetch +failed +1 +http +https:\/\/example\.com +- +n1 +no such host$/m);
  t.regex(table, /^1 +load +skipped +0 +command +\.\/load +0 +- +\S.*$/m);
  const json = answerOf<{ plan: PlanView; steps: unknown[] }>(
    await run(['batch', 'status', 'plan-1', '--steps', '--json']),
  );
  t.is(json.steps.length, 2);
  t.is((await run(['batch', 'status', 'nosuch'])).exitCode, 3);
});

test('status --watch --json tells each change as one object a line', async t => {
  const { plans, run } = await withPlans(t);
  await run(['batch', 'submit', 'plan.yaml']);
  plans.whenWatched = inTurn(plans, completed, completed);
  const result = await run(['batch', 'status', 'plan-1', '--watch', '--json']);
  t.is(result.exitCode, 0);
  const events = itemsOf<PlanChange>(result);
  t.is(events[0]!.kind, 'step');
  t.like(events.at(-1), { kind: 'plan', plan: { state: 'COMPLETED' } });
});

test('a watch goes on when the connection breaks off, and tells nothing twice', async t => {
  const { plans, run } = await withPlans(t);
  await run(['batch', 'submit', 'plan.yaml']);
  const watch = plans.watch.bind(plans);
  let watches = 0;
  plans.whenWatched = () => plans.begin('plan-1');
  plans.watch = async function* (id, after, signal) {
    watches++;
    for await (const event of watch(id, after, signal)) {
      yield event;
      // Cut while the first step runs; it ends before anybody watches again.
      if (watches === 1 && event.kind === 'plan' && event.plan.state === 'RUNNING') {
        plans.whenWatched = () => undefined;
        inTurn(plans, completed, completed)('plan-1');
        return;
      }
    }
  };
  const { exitCode, stdout } = await run(['batch', 'status', 'plan-1', '--watch']);
  t.is(exitCode, 0);
  t.true(watches > 1);
  const lines = stdout.trim().split('\n');
  t.deepEqual(lines, [...new Set(lines)]);
  t.is(lines.at(-1), 'plan-1: completed');
});

test('list shows plans by state and title', async t => {
  const { plans, run } = await withPlans(t);
  await run(['batch', 'submit', 'plan.yaml']);
  await run(['batch', 'submit', 'plan.yaml']);
  inTurn(plans, failed)('plan-1');
  const { stdout } = await run(['batch', 'list']);
  t.regex(stdout, /^PLAN +STATE +STEPS +TITLE +FROM +SUBMITTED +ENDED$/m);
  t.regex(stdout, /^plan-2 +pending +2 +Nightly +rest +\S+ +-\nplan-1 +failed +2 +Nightly/m);
  t.notRegex((await run(['batch', 'list', '--state', 'failed'])).stdout, /plan-2/);
  t.regex((await run(['batch', 'list', '--lines', '1'])).stderr, /older ones are left out/);
  t.is((await run(['batch', 'list', '--state', 'gone'])).exitCode, 2);
  t.regex((await run(['batch', 'list', '--title', 'none'])).stdout, /no such plans/);
});

test('cancel says who asked, and can wait until nothing runs', async t => {
  const { plans, run } = await withPlans(t);
  await run(['batch', 'submit', 'plan.yaml']);
  plans.begin('plan-1');
  plans.whenWatched = () => plans.finish('plan-1', 0, { kind: 'stopped' });
  const { exitCode, stdout } = await run(['batch', 'cancel', 'plan-1', '--wait'], { env: { USER: 'ada' } });
  t.is(exitCode, 0);
  t.regex(stdout, /^plan-1: cancelled, /);
  t.is((await plans.plan('plan-1')).cancel?.by, 'ada, with batch cancel');
  t.is((await run(['batch', 'cancel', 'plan-1'])).exitCode, 6);
});

test('retry does again what failed, or the steps that are named', async t => {
  const { plans, run } = await withPlans(t);
  await run(['batch', 'submit', 'plan.yaml']);
  inTurn(plans, failed)('plan-1');
  t.is((await run(['batch', 'retry', 'plan-1', 'nosuch'])).exitCode, 3);
  t.is((await run(['batch', 'retry', 'plan-1', 'load'])).exitCode, 6);
  plans.whenWatched = inTurn(plans, completed, failed);
  t.is((await run(['batch', 'retry', 'plan-1', 'fetch', '--wait'])).exitCode, 1);
  plans.whenWatched = id => {
    plans.begin(id);
    plans.finish(id, 1, completed);
  };
  const { exitCode, stdout } = await run(['batch', 'retry', 'plan-1', '1', '--wait']);
  t.is(exitCode, 0);
  t.is(stdout, 'plan-1: completed, 2 completed\n');
});

test('output prints what a step gave, and remove forgets the plan', async t => {
  const { plans, run } = await withPlans(t);
  await run(['batch', 'submit', 'plan.yaml']);
  plans.begin('plan-1');
  t.is((await run(['batch', 'remove', 'plan-1'])).exitCode, 6);
  plans.finish('plan-1', 0, completed, Buffer.from('three rows\n'));
  plans.finish('plan-1', 1, completed, Uint8Array.of(0xff));
  t.is((await run(['batch', 'output', 'plan-1', 'fetch'])).stdout, 'three rows\n');
  t.deepEqual(answerOf(await run(['batch', 'output', 'plan-1', '0', '--json'])), {
    plan: 'plan-1',
    step: 0,
    bytes: 11,
    text: 'three rows\n',
  });
  t.like(answerOf(await run(['batch', 'output', 'plan-1', 'load', '--json'])), { bytes: 1, base64: '/w==' });
  t.is((await run(['batch', 'remove', 'plan-1'])).exitCode, 0);
  t.deepEqual(plans.forgotten, ['plan-1']);
});

test('apply makes schedules, submits plans and deploys apps that are named together', async t => {
  const { plans, admin, run, write } = await withPlans(t);
  write('app.yaml', 'metadata: {id: wiki}\nbuild: {builder: none}\nrun: {start: node x.js}\n');
  const { exitCode, stdout } = await run(['apply', 'app.yaml', 'plan.yaml', 'nightly.yaml']);
  t.is(exitCode, 0);
  t.regex(
    stdout,
    /^wiki: created, release 1\nnightly: @daily in Europe\/Berlin, next at \S+\nplan-1: pending, 2 pending\n$/,
  );
  t.is(plans.schedule('nightly').title, 'Nightly');
  t.is(admin.apps().items.length, 2);
  plans.whenWatched = inTurn(plans, failed);
  const waited = await run(['apply', 'plan.yaml', '--wait', '--json']);
  t.is(waited.exitCode, 1);
  t.like(answerOf<object>(waited), { apps: [], plans: [{ plan: 'plan-2', state: 'FAILED' }] });
});

test('a plan that is refused keeps apps that are named with it from being deployed', async t => {
  const { plans, admin, run, write } = await withPlans(t);
  write('app.yaml', 'metadata: {id: wiki}\nbuild: {builder: none}\nrun: {start: node x.js}\n');
  plans.check = () => [{ field: 'steps[1].agent', message: 'there is no such agent', hint: null }];
  const { exitCode, stderr } = await run(['apply', 'app.yaml', 'plan.yaml']);
  t.is(exitCode, 1);
  t.regex(stderr, /^plan\.yaml:5:25: error: steps\[1\]\.agent: there is no such agent$/m);
  t.is(admin.apps().items.length, 1);
  t.deepEqual(plans.submissions, []);
});

test('validate and plan say what would be done, and do nothing', async t => {
  const { plans, run } = await withPlans(t);
  const { stdout } = await run(['validate', 'plan.yaml', 'nightly.yaml']);
  t.is(
    stdout,
    'plan.yaml: "Nightly" (2 steps)\nnightly.yaml: "Nightly" (2 steps), scheduled as "nightly": @daily\n',
  );
  const shown = await run(['plan', 'plan.yaml', 'nightly.yaml']);
  t.is(
    shown.stdout,
    '"Nightly" (2 steps): is submitted\n"Nightly" (2 steps): is made by the schedule "nightly", @daily\n',
  );
  t.deepEqual(plans.submissions, []);
  t.deepEqual(plans.schedules().items, []);
});

test('schedules are listed, shown, paused, resumed and removed', async t => {
  const { run } = await withPlans(t);
  t.regex((await run(['schedule', 'list'])).stdout, /no schedules/);
  await run(['apply', 'nightly.yaml']);
  t.regex(
    (await run(['schedule', 'list'])).stdout,
    /^nightly +@daily +Europe\/Berlin +2026-\S+ +- +- +api$/m,
  );
  t.regex((await run(['schedule', 'show', 'nightly'])).stdout, /^plan: +Nightly \(2 steps\)$/m);
  t.is((await run(['schedule', 'pause', 'nightly'])).stdout, 'nightly: @daily in Europe/Berlin, paused\n');
  t.regex((await run(['schedule', 'list'])).stdout, / paused /);
  t.regex((await run(['schedule', 'resume', 'nightly'])).stdout, /next at/);
  t.regex((await run(['schedule', 'run', 'nightly'])).stdout, /^plan-1: pending/);
  t.is((await run(['schedule', 'remove', 'nightly'])).exitCode, 0);
  t.is((await run(['schedule', 'show', 'nightly'])).exitCode, 3);
});

test('submit of a file with a schedule does its plan once', async t => {
  const { plans, run } = await withPlans(t);
  const { stdout, stderr } = await run(['batch', 'submit', 'nightly.yaml']);
  t.is(stdout, 'plan-1\n');
  t.regex(stderr, /done once, now; hop3-agent apply nightly\.yaml makes the schedule "nightly"/);
  t.deepEqual(plans.schedules().items, []);
});

test('a shell is offered plans and schedules that are there', async t => {
  const { run } = await withPlans(t);
  await run(['batch', 'submit', 'plan.yaml']);
  await run(['apply', 'nightly.yaml']);
  t.is((await run(['__complete', 'batch', 'status', ''])).stdout, 'none\nplan-1\tNightly\n');
  t.is((await run(['__complete', 'schedule', 'pause', ''])).stdout, 'none\nnightly\t@daily\n');
});
