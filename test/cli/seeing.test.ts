import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'ava';
import type { Doctor, EventView, PromiseView } from '../../src/model/views.ts';
import { AdminError, type Listing } from '../../src/ports/admin.ts';
import { until } from '../support/until.ts';
import { answerOf, itemsOf, ran } from './captured-io.ts';
import { cluster } from './cluster-for-tests.ts';

test('status lists the apps in columns', async t => {
  const { ran } = await cluster(t);
  t.deepEqual(await ran(['status']), {
    exitCode: 0,
    stdout:
      'APP    STATE   READY                 RELEASE   HOST NAMES         APPLIED\n' +
      'blog   Ready   web 2/2, mailer 1/1   1         blog.example.com   2026-01-01T00:00:00.000Z\n',
    stderr: '',
  });
});

test('on a terminal times are relative and states coloured; elsewhere neither', async t => {
  const { ran } = await cluster(t);
  const person = (await ran(['status'], { isTty: true })).stdout;
  t.regex(person, /0s ago/);
  t.true(person.includes('\u001b[32mReady\u001b[39m'));
  for (const plain of [
    await ran(['status', '--no-color'], { isTty: true }),
    await ran(['--no-color', 'status'], { isTty: true }),
    await ran(['status'], { isTty: true, env: { NO_COLOR: '1' } }),
    await ran(['status']),
  ]) {
    t.false(plain.stdout.includes('\u001b'));
  }
});

test('status APP shows its instances, and the last words of those in trouble', async t => {
  const { ran, show } = await cluster(t);
  show(({ instance }) =>
    instance === 'blog/web/1'
      ? { state: 'failed', ready: false, pid: null, trouble: 'exit code 1\nError: no database\n' }
      : {},
  );
  const { exitCode, stdout } = await ran(['status', 'blog']);
  t.is(exitCode, 0);
  t.regex(stdout, /^host names: +blog\.example\.com$/m);
  t.regex(stdout, /^blog\/web\/0 +n1 +running +yes +1 +127\.0\.0\.1:4001 +1000$/m);
  t.regex(stdout, /^blog\/web\/1 +n2 +failed +no +1 +127\.0\.0\.1:4002 +-$/m);
  t.regex(stdout, /\nblog\/web\/1:\n {2}\| exit code 1\n {2}\| Error: no database\n$/);
});

test('nodes, explain and doctor say what the API says', async t => {
  const { ran, admin } = await cluster(t);
  const [since, evidence] = ['2026-01-01T00:00:00.000Z', 'no beat from n2 for 4.0 s'];
  admin.unheard.set(
    'n2',
    ['n1', 'n3'].map(node => ({ node, since, evidence })),
  );
  admin.unheard.set('n3', [{ node: 'n1', since, evidence }]);
  const { stdout } = await ran(['nodes']);
  t.regex(stdout, /^n1 +Active +- +1 +954 MiB of 3\.7 GiB +0\.5 of 2 +100% +apps, proxy +zone=eu/m);
  t.regex(stdout, /^n2 +Active \(unreachable\) +n1 \(2026-01-01T00:00:00\.000Z\), n3 \(2026-\S+\) +1 /m);
  t.regex(stdout, /^n3 +Active +n1 \(2026-\S+\) +1 /m);
  t.is(
    (await ran(['explain', 'blog/web/0'])).stdout,
    [
      'blog/web/0: blog/web/0 is on n1',
      '  it has room',
      '',
      'RANK   NODE   SCORE   WHY',
      '1      n1     0.800   0.40 free memory',
      '-      n9     -       is draining',
      '',
    ].join('\n'),
  );
  const doctor = await ran(['doctor', '--json']);
  t.true(answerOf<Doctor>(doctor).checks.some(({ name }) => name === 'agent'));
});

test('explain tells the history of a promise, also when it is promised no more', async t => {
  const { ran } = await cluster(t);
  const standing = (await ran(['explain', 'n1/running:blog/web/0'])).stdout;
  t.regex(standing, /^n1\/running:blog\/web\/0: /);
  t.regex(standing, /^WHEN +TOLD BY +EVENT +MESSAGE\n\S+ +n1 +promise-made +blog\/web\/0 runs on n1$/m);
  const gone = await ran(['explain', 'n1/running:old/web/0']);
  t.is(gone.exitCode, 0);
  t.regex(gone.stdout, /^n1\/running:old\/web\/0: is promised no more\n/);
  t.regex(gone.stdout, /promise-withdrawn +withdrawn: not wanted$/m);
  const { history } = answerOf<{ history: EventView[] }>(
    await ran(['explain', 'n1/running:old/web/0', '--json']),
  );
  t.deepEqual(
    history.map(({ kind }) => kind),
    ['promise-withdrawn'],
  );
  t.is((await ran(['explain', 'n1/running:never/web/0'])).exitCode, 3);
});

test('promises are filtered, and say who judged them how', async t => {
  const { ran } = await cluster(t);
  const { stdout } = await ran(['promises', '--of', 'n1']);
  t.regex(stdout, /^n1 +running:blog\/web\/0 +any +kept +1 kept of 1 +n2: HTTP 200 in 3 ms/m);
  t.is(stdout.trim().split('\n').length, 2);
  t.is((await ran(['promises', '--broken'])).stdout, 'no such promises\n');
});

const unknown: [line: string, says: string, hint: string][] = [
  ['promises --of n4', 'there is no node "n4"', 'did you mean "n1"?'],
  ['promises --app blgo', 'there is no app "blgo"', 'did you mean "blog"?'],
  ['promises --app blgo --broken --json', 'there is no app "blgo"', 'did you mean "blog"?'],
  ['events --node n4', 'there is no node "n4"', 'did you mean "n1"?'],
  ['events --subject app/blgo', 'there is no app "blgo"', 'did you mean "blog"?'],
  ['events --subject instance/blog/wbe/0', 'there is no instance "blog/wbe/0"', 'did you mean "blog/web/0"?'],
  ['events --subject blog', '"blog" is no subject of events', 'app/blog'],
];
for (const [line, says, hint] of unknown) {
  test(`${line}: a filter by a name that nobody knows is exit code 3, with the one that was meant`, async t => {
    const { ran } = await cluster(t);
    const { exitCode, stdout, stderr } = await ran(line.split(' '));
    t.is(exitCode, 3, stderr);
    t.is(stdout, '');
    const text = line.endsWith('--json') ? JSON.stringify : String;
    t.true(stderr.includes(text(says).replaceAll(/^"|"$/g, '')), stderr);
    t.true(stderr.includes(text(hint).replaceAll(/^"|"$/g, '')), stderr);
  });
}

test('a filter by a name that is known, or was, may find nothing', async t => {
  const { admin, ran } = await cluster(t);
  admin.record({ kind: 'node-lost', subject: 'app/gone' }).node = 'n8';
  for (const line of [
    'promises --app blog --broken',
    'events --subject app/blog --kind node-lost',
    'events --subject app/gone --kind promise-made',
    'events --node n8 --kind promise-made',
    'events --subject plan/0123456789abcdef',
  ]) {
    const { exitCode, stdout, stderr } = await ran(line.split(' '));
    t.is(exitCode, 0, stderr);
    t.regex(stdout, /^no such (events|promises)\n$/);
    t.is(stderr, '');
  }
});

test('events of a kind that is not in the ledger may come yet: what may have been meant is only said', async t => {
  const { ran } = await cluster(t);
  const { exitCode, stdout, stderr } = await ran(['events', '--kind', 'promise-maed']);
  t.is(exitCode, 0);
  t.is(stdout, 'no such events\n');
  t.is(stderr, 'nothing of the kind "promise-maed" is in the ledger: did you mean "promise-made"?\n');
});

test('promises --watch shows a change once', async t => {
  const { admin, ran } = await cluster(t);
  const ending = new AbortController();
  const plain = admin.promises.bind(admin);
  let looks = 0;
  admin.promises = filter => {
    const { revision, items } = plain(filter);
    looks++;
    if (looks === 5) ending.abort();
    const changed = items.map(item =>
      looks >= 3 && item.promiser === 'n1' ? { ...item, outcome: 'broken' as const } : item,
    );
    return { revision, items: looks >= 4 ? changed.slice(0, 1) : changed };
  };
  const watched = await ran(['promises', '--watch', '--json'], { signal: ending.signal });
  t.is(watched.exitCode, 130);
  const told = itemsOf<PromiseView>(watched).map(({ promiser, outcome }) => `${promiser} ${outcome}`);
  t.deepEqual(told, ['n1 kept', 'n2 kept', 'n3 unassessed', 'n1 broken', 'n2 gone', 'n3 gone']);
});

test('events shows the ledger, from a revision on when asked', async t => {
  const { admin, ran } = await cluster(t);
  const { stdout } = await ran(['events']);
  t.regex(stdout, /^REVISION +WHEN +NODE +KIND +SUBJECT +MESSAGE\n/);
  t.regex(stdout, /promise-made +n1\/running:blog\/web\/0 +blog\/web\/0 runs on n1$/m);
  const { revision } = admin.record({ kind: 'instance-exited', subject: 'instance/blog/web/0' });
  admin.record({ kind: 'subject-acquired', subject: 'instance/blog/web/0' });
  const later = answerOf<Listing<EventView>>(await ran(['events', '--since', revision, '--json']));
  t.deepEqual(
    later.items.map(({ kind }) => kind),
    ['subject-acquired'],
  );
});

test('events --follow goes on until Ctrl-C, one object a line with --json', async t => {
  const { admin, ran } = await cluster(t);
  const ending = new AbortController();
  const following = ran(['events', '--follow', '--lines', '1', '--json'], {
    signal: ending.signal,
    onStdout: soFar => {
      if (soFar.includes('first')) admin.record({ kind: 'second', subject: 'x' });
      if (soFar.includes('"second"')) ending.abort();
    },
  });
  admin.record({ kind: 'first', subject: 'x' });
  const followed = await following;
  t.is(followed.exitCode, 130);
  t.true(itemsOf<EventView>(followed).some(({ kind }) => kind === 'second'));
});

test('events --follow goes on where it was when the agent was away, also between events of one transaction', async t => {
  const asked: { limit: string | null; lastId: string | undefined }[] = [];
  const server = http.createServer((request, response) => {
    const { searchParams } = new URL(request.url ?? '', 'http://agent');
    const lastId = request.headers['last-event-id'] as string | undefined;
    asked.push({ limit: searchParams.get('limit'), lastId });
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const event = { revision: '5', at: '', node: '', kind: `kind-${asked.length}`, subject: '', message: '' };
    response.write(`id: 5-${asked.length}\ndata: ${JSON.stringify(event)}\n\nid: 6`, () =>
      response.destroy(),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const ending = new AbortController();
  const { exitCode, stderr } = await ran(['events', '--follow', '--api', `http://127.0.0.1:${port}`], {
    signal: ending.signal,
    onStdout: soFar => soFar.includes('kind-3') && ending.abort(),
  });
  t.is(exitCode, 130);
  t.deepEqual(asked.slice(0, 3), [
    { limit: '50', lastId: undefined },
    { limit: null, lastId: '5-1' },
    { limit: null, lastId: '5-2' },
  ]);
  t.regex(stderr, /trying again/);
});

test('logs names the instance of each line unless there is but one', async t => {
  const { ran } = await cluster(t);
  t.is(
    (await ran(['logs', 'blog'])).stdout,
    'blog/web/0  listening on 4001\nblog/web/1  a warning\nblog/mailer/0  ready\n',
  );
  t.is((await ran(['logs', 'blog/web/0'])).stdout, 'listening on 4001\n');
  t.deepEqual(JSON.parse((await ran(['logs', 'blog/web/1', '--json'])).stdout), {
    instance: 'blog/web/1',
    node: 'n2',
    stream: 'stderr',
    text: 'a warning',
    cursor: '2',
  });
});

test('logs --follow goes on where it was when the agent was away', async t => {
  const asked: (string | undefined)[] = [];
  const server = http.createServer((request, response) => {
    asked.push(request.headers['last-event-id'] as string | undefined);
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const line = { instance: 'blog/web/0', node: 'n1', stream: 'stdout', text: `line ${asked.length}` };
    // An agent that ends properly is one that was away, too.
    const cut = () => (asked.length === 1 ? response.destroy() : response.end());
    response.write(`id: at-${asked.length}\ndata: ${JSON.stringify(line)}\n\nid: more`, cut);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const ending = new AbortController();
  const { exitCode, stdout } = await ran(['logs', 'blog', '--follow', '--api', `http://127.0.0.1:${port}`], {
    signal: ending.signal,
    onStdout: soFar => soFar.includes('line 3') && ending.abort(),
  });
  t.is(exitCode, 130);
  t.deepEqual(asked.slice(0, 3), [undefined, 'at-1', 'at-2']);
  t.is(stdout, 'blog/web/0  line 1\nblog/web/0  line 2\nblog/web/0  line 3\n');
});

test('top shows the whole cluster, once when asked', async t => {
  const { ran, url } = await cluster(t);
  const { stdout } = await ran(['top', '--once']);
  t.true(stdout.startsWith(`hop3-agent ${url} · 3 nodes · 1 app · 3 of 3 instances ready\n`));
  t.regex(stdout, /^blog\/mailer\/0 /m);
});

test('top on a terminal leaves it as it was, also after Ctrl-C', async t => {
  const { ran } = await cluster(t);
  const ending = new AbortController();
  const { exitCode, stdout } = await ran(['top'], {
    isTty: true,
    signal: ending.signal,
    onStdout: soFar => soFar.includes('blog/mailer/0') && ending.abort(),
  });
  t.is(exitCode, 130);
  t.true(stdout.startsWith('\u001b[?1049h\u001b[?25l'));
  t.true(stdout.endsWith('\u001b[?25h\u001b[?1049l'));
});

for (const argv of [
  ['status'],
  ['status', 'blog'],
  ['nodes'],
  ['promises'],
  ['events'],
  ['explain', 'blog/web/0'],
  ['top', '--once'],
  ['doctor'],
]) {
  test(`${argv.join(' ')} --json is one JSON document and nothing else`, async t => {
    const { ran } = await cluster(t);
    const { stdout, stderr } = await ran([...argv, '--json'], { isTty: true });
    t.notThrows(() => void JSON.parse(stdout));
    t.is(stderr, '');
  });
}

test('lists with --json are what the API answers', async t => {
  const { ran, url } = await cluster(t);
  for (const [argv, path] of [
    [['status'], '/v1/apps'],
    [['nodes'], '/v1/nodes'],
    [['promises'], '/v1/promises'],
  ] as const) {
    const { stdout } = await ran([...argv, '--json']);
    t.deepEqual(JSON.parse(stdout), await (await fetch(url + path)).json());
  }
});

const refusals: {
  name: string;
  argv: string[];
  error?: Error;
  exitCode: number;
  says: RegExp;
  hint?: string;
}[] = [
  { name: 'an app that is not there', argv: ['status', 'blgo'], exitCode: 3, says: /there is no app "blgo"/ },
  { name: 'a target that is not there', argv: ['logs', 'shop'], exitCode: 3, says: /there is no app/ },
  { name: 'a subject nobody knows', argv: ['explain', 'x/y/1'], exitCode: 3, says: /nothing is known/ },
  {
    name: 'a conflict',
    argv: ['scale', 'blog', 'web=3'],
    error: new AdminError('conflict', 'somebody else changed it'),
    exitCode: 6,
    says: /somebody else changed it/,
  },
  {
    name: 'a cluster that cannot be reached',
    argv: ['scale', 'blog', 'web=3'],
    error: new AdminError('unavailable', 'etcd does not answer'),
    exitCode: 7,
    says: /etcd does not answer/,
  },
  {
    name: 'a process type that is not there',
    argv: ['scale', 'blog', 'wbe=3'],
    exitCode: 3,
    says: /no process type "wbe"/,
    hint: 'did you mean "web"?',
  },
  {
    name: 'a restart of a process type that is not there',
    argv: ['restart', 'blog', 'maler'],
    exitCode: 3,
    says: /no process type "maler"/,
    hint: 'did you mean "mailer"?',
  },
];

for (const { name, argv, error, exitCode, says, hint } of refusals) {
  test(`${name} is exit code ${exitCode}`, async t => {
    const { admin, ran } = await cluster(t);
    if (error) admin.fail('scale', error);
    const plain = await ran(argv);
    t.is(plain.exitCode, exitCode);
    t.is(plain.stdout, '');
    t.regex(plain.stderr, /^error: /);
    t.regex(plain.stderr, says);
    if (hint !== undefined) t.true(plain.stderr.endsWith(`\nhint: ${hint}\n`), plain.stderr);
    if (error) admin.fail('scale', error);
    const json = await ran([...argv, '--json']);
    t.is(json.exitCode, exitCode);
    const told = JSON.parse(json.stderr) as { error: { message: string; exitCode: number } };
    t.regex(told.error.message, says);
    t.is(told.error.exitCode, exitCode);
  });
}

test('a token is asked for with exit code 4, and taken from the option or the environment', async t => {
  const token = '0123456789abcdef-secret';
  const { ran } = await cluster(t, { tokens: [token] });
  const without = await ran(['nodes']);
  t.is(without.exitCode, 4);
  t.regex(without.stderr, /^hint: HOP3_AGENT_TOKEN/m);
  t.is((await ran(['nodes', '--token', token])).exitCode, 0);
  t.is((await ran(['nodes'], { env: { HOP3_AGENT_TOKEN: token } })).exitCode, 0);
});

test('nobody there is exit code 7, naming the address', async t => {
  const { exitCode, stderr } = await ran(['status', '--api', 'http://127.0.0.1:9']);
  t.is(exitCode, 7);
  t.regex(stderr, /^error: no answer from the agent at http:\/\/127\.0\.0\.1:9: .*\nhint: /);
});

test('a unix socket that is not there is exit code 7 too', async t => {
  const { exitCode, stderr } = await ran(['status', '--api', 'unix:/nowhere/admin.sock']);
  t.is(exitCode, 7);
  t.regex(stderr, /\/nowhere\/admin\.sock/);
});

test('completion offers the names that are there, and nothing when nobody answers', async t => {
  const { ran, url } = await cluster(t);
  const offered = async (...words: string[]) =>
    (await ran(['__complete', ...words])).stdout.trim().split('\n');
  // Completion gives up quickly; a machine under load may need a second try.
  const named = (...words: string[]) =>
    until('the API answers in time', async () => {
      const found = await offered(...words);
      return found.length > 1 ? found : null;
    });
  t.deepEqual(await named('status', ''), ['none', 'blog']);
  t.deepEqual(await named('promises', '--of', 'n'), ['none', 'n1\tActive', 'n2\tActive', 'n3\tActive']);
  t.deepEqual(await named('logs', 'blog/w'), ['none', 'blog/web', 'blog/web/0', 'blog/web/1']);
  t.true((await named('explain', 'n1/')).includes('n1/running:blog/web/0'));
  t.deepEqual(await named('--api', url, 'remove', 'b'), ['none', 'blog']);
  t.deepEqual(await offered('apply', ''), ['files']);
  t.deepEqual(await offered('deploy', ''), ['directories']);
  t.deepEqual(await offered('run', '--driver', 's'), ['none', 'systemd']);
  t.deepEqual(await offered('status', 'blog', ''), ['none']);
  t.deepEqual(await offered('--api', 'http://127.0.0.1:9', 'status', ''), ['none']);
});
