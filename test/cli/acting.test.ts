import test from 'ava';
import type { ScaledApp } from '../../src/model/views.ts';
import { answerOf } from './captured-io.ts';
import { cluster } from './cluster-for-tests.ts';
import { directoryWith } from './temporary-directory.ts';

const shop = 'metadata: {id: shop}\nsource: {path: ./shop}\nrun: {start: node shop.js}\nscale: {web: 2}\n';

test('apply packs, uploads and hands over, and says what came of it', async t => {
  const { admin, ran } = await cluster(t);
  const cwd = await directoryWith(t, { 'shop.yaml': shop, 'shop/shop.js': 'run()' });
  admin.script = [
    { kind: 'step', app: 'shop', step: 'build', message: 'with node' },
    { kind: 'output', app: 'shop', step: 'build', text: 'added 3 packages' },
  ];
  const { exitCode, stdout, stderr } = await ran(['apply', 'shop.yaml'], { cwd });
  t.is(exitCode, 0, stderr);
  t.is(stdout, 'shop: created, release 1\n');
  t.regex(
    stderr,
    /^shop: uploading .*shop \(\d+ B\) to n1\nshop: plan plan-shop: .*\nshop: build: with node\nshop \| added 3 packages\n$/,
  );
  const again = await ran(['apply', 'shop.yaml', '--json'], { cwd });
  t.is(again.stderr, '');
  t.deepEqual(JSON.parse(again.stdout), {
    kind: 'applied',
    apps: [{ app: 'shop', release: 2, generation: 2, change: 'update' }],
  });
});

test('what is uploaded is the directory, and the same directory is uploaded once', async t => {
  const { admin, ran } = await cluster(t);
  const cwd = await directoryWith(t, { 'shop.yaml': shop, 'shop/shop.js': 'run()' });
  await ran(['apply', 'shop.yaml'], { cwd });
  const held = await admin.artifacts();
  const { stderr } = await ran(['apply', 'shop.yaml'], { cwd });
  t.regex(stderr, /^shop: n1 has the source already/);
  t.deepEqual(await admin.artifacts(), held);
});

test('apply reads stdin, whose paths are relative to here', async t => {
  const { ran } = await cluster(t);
  const cwd = await directoryWith(t, { 'shop/shop.js': '' });
  const { exitCode, stdout } = await ran(['apply', '-'], { cwd, stdin: shop });
  t.is(exitCode, 0);
  t.is(stdout, 'shop: created, release 1\n');
});

test('apply --wait says what it waits for, and ends when all is ready', async t => {
  const { ran, show } = await cluster(t);
  const cwd = await directoryWith(t, { 'shop.yaml': shop, 'shop/shop.js': '' });
  show(({ index }, look) => (look <= 2 && index === 1 ? { ready: false, state: 'starting' } : {}));
  const { exitCode, stdout, stderr } = await ran(['apply', 'shop.yaml', '--wait'], { cwd });
  t.is(exitCode, 0);
  t.is(stdout, 'shop: ready, release 1, web 2/2\n');
  t.is(stderr.match(/waiting for/g)?.length, 1);
  t.regex(stderr, /^waiting for shop\/web: 1 of 2 ready \(starting\)$/m);
});

test('apply --wait is not content with the release before', async t => {
  const { ran, show } = await cluster(t);
  const cwd = await directoryWith(t, { 'shop.yaml': shop, 'shop/shop.js': '' });
  await ran(['apply', 'shop.yaml'], { cwd });
  show((_instance, look) => (look <= 2 ? { release: 1, version: '1' } : {}));
  const { exitCode, stderr } = await ran(['apply', 'shop.yaml', '--wait'], { cwd });
  t.is(exitCode, 0);
  t.regex(stderr, /waiting for shop\/web: 0 of 2 ready \(still to be replaced\)/);
});

test('an instance that was given up ends the waiting with exit code 8 and its last words', async t => {
  const { ran, show } = await cluster(t);
  const cwd = await directoryWith(t, { 'shop.yaml': shop, 'shop/shop.js': '' });
  show(({ index }) =>
    index === 0 ? { ready: false, state: 'failed', trouble: 'exited with code 1\nError: no port' } : {},
  );
  const { exitCode, stdout, stderr } = await ran(['apply', 'shop.yaml', '--wait'], { cwd });
  t.is(exitCode, 8);
  t.is(stdout, '');
  t.regex(stderr, /^error: shop\/web\/0 on n\d failed and was given up$/m);
  t.regex(stderr, /^ {2}\| shop\/web\/0: Error: no port$/m);
  t.regex(stderr, /^hint: hop3-agent logs shop\/web\/0 /m);
});

test('the failure of an old release does not end the waiting for the new one', async t => {
  const { ran, show } = await cluster(t);
  const cwd = await directoryWith(t, { 'shop.yaml': shop, 'shop/shop.js': '' });
  await ran(['apply', 'shop.yaml'], { cwd });
  show((_instance, look) => (look <= 2 ? { release: 1, state: 'failed', ready: false } : {}));
  t.is((await ran(['apply', 'shop.yaml', '--wait'], { cwd })).exitCode, 0);
});

test('waiting ends after --timeout with exit code 8, naming what is not ready', async t => {
  const { ran, show } = await cluster(t);
  const cwd = await directoryWith(t, { 'shop.yaml': shop, 'shop/shop.js': '' });
  show(() => ({ ready: false, state: 'unplaced', node: null }));
  const { exitCode, stderr } = await ran(['apply', 'shop.yaml', '--wait', '--timeout', '3'], { cwd });
  t.is(exitCode, 8);
  t.regex(stderr, /^error: after 3 s still not ready: shop\/web: 0 of 2 ready \(unplaced\)$/m);
  t.regex(stderr, /^hint: hop3-agent explain shop\/web\/0 says why$/m);
});

test('waiting can be interrupted', async t => {
  const { ran, show } = await cluster(t);
  const cwd = await directoryWith(t, { 'shop.yaml': shop, 'shop/shop.js': '' });
  const ending = new AbortController();
  show((_instance, look) => {
    if (look > 3) ending.abort();
    return { ready: false };
  });
  t.is((await ran(['apply', 'shop.yaml', '--wait'], { cwd, signal: ending.signal })).exitCode, 130);
});

test('a build that fails is exit code 8 with its last lines', async t => {
  const { admin, ran } = await cluster(t);
  const cwd = await directoryWith(t, { 'shop.yaml': shop, 'shop/shop.js': '' });
  admin.script = [
    {
      kind: 'failed',
      app: 'shop',
      step: 'build',
      message: 'npm ci ended with code 1',
      output: ['npm ERR! no lock'],
    },
  ];
  const { exitCode, stderr } = await ran(['apply', 'shop.yaml'], { cwd });
  t.is(exitCode, 8);
  t.regex(stderr, /^error: shop: build failed: npm ci ended with code 1\n {2}\| npm ERR! no lock$/m);
});

test('what the cluster refuses because others have it is exit code 6, also before it is tried', async t => {
  const { ran } = await cluster(t);
  const cwd = await directoryWith(t, {
    'shop.yaml': `${shop}domains: {list: [blog.example.com]}\n`,
    'shop/shop.js': '',
  });
  for (const command of ['apply', 'plan']) {
    const { exitCode, stderr } = await ran([command, 'shop.yaml'], { cwd });
    t.is(exitCode, 6);
    t.regex(stderr, /^shop\.yaml:5:17: error: domains\.list: is held by "blog"$/m);
  }
});

test('what the cluster refuses is refused before anything is uploaded', async t => {
  const { admin, ran } = await cluster(t);
  const cwd = await directoryWith(t, {
    'shop.yaml': `${shop}domains: {list: [blog.example.com]}\n`,
    'shop/shop.js': '',
    'site/public/index.html': '',
  });
  const before = await admin.artifacts();
  for (const line of [
    ['apply', 'shop.yaml', 'site'],
    ['deploy', 'site', '--host', 'blog.example.com'],
  ]) {
    const { exitCode, stderr } = await ran(line, { cwd });
    t.is(exitCode, 6);
    t.regex(stderr, /^error: nothing was changed: the cluster refuses 1 thing$/m);
    t.notRegex(stderr, /uploading/);
  }
  t.deepEqual(await admin.artifacts(), before);
});

test('plan says what would change, and changes nothing', async t => {
  const { admin, ran } = await cluster(t);
  const cwd = await directoryWith(t, { 'shop.yaml': shop, 'shop/shop.js': '' });
  const { exitCode, stdout } = await ran(['plan', 'shop.yaml'], { cwd });
  t.is(exitCode, 0);
  t.is(stdout, 'shop: create, instances are replaced one after the other\n  env.A (restart)\n    + 1\n');
  t.deepEqual(
    admin.apps().items.map(({ app }) => app),
    ['blog'],
  );
  t.is((await admin.artifacts()).length, 1);
});

test('deploy takes a directory as it is, waits, and says where it is reached', async t => {
  const { ran } = await cluster(t);
  const cwd = await directoryWith(t, { 'shop/package.json': '{"scripts": {"start": "node ."}}' });
  const { exitCode, stdout } = await ran(['deploy', 'shop', '--host', 'shop.localhost'], { cwd });
  t.is(exitCode, 0);
  t.is(stdout, 'shop: ready, release 1, web 1/1, at shop.localhost\n');
});

test('deploy takes name, variables and scale from the command line', async t => {
  const { admin, ran } = await cluster(t);
  const cwd = await directoryWith(t, { 'shop/Procfile': 'web: node a.js\nmailer: node b.js\n' });
  const applied: unknown[] = [];
  const plain = admin.apply.bind(admin);
  admin.apply = (request, signal) => {
    applied.push(...request.specs);
    return plain(request, signal);
  };
  const { exitCode } = await ran(
    [
      'deploy',
      'shop',
      '--app',
      'market',
      '--env',
      'A=1=2',
      '--env',
      'B=',
      '--scale',
      'web=3',
      '--scale',
      'mailer=0',
    ],
    { cwd },
  );
  t.is(exitCode, 0);
  t.like(applied[0], {
    app: 'market',
    env: { A: { kind: 'literal', value: '1=2' }, B: { kind: 'literal', value: '' } },
    processes: [
      { type: 'web', scale: 3 },
      { type: 'mailer', scale: 0 },
    ],
    source: { kind: 'uploaded' },
  });
});

for (const [flag, value, says] of [
  ['--app', 'Shop!', /"Shop!" is not an app name/],
  ['--env', '1A=x', /"1A" is not the name of a variable/],
  ['--host', 'no host', /"no host" is not a host name/],
  ['--scale', 'worker=2', /shop has no process type "worker"/],
] as const) {
  test(`deploy ${flag} ${value} is refused with exit code 2`, async t => {
    const { admin, ran } = await cluster(t);
    const cwd = await directoryWith(t, { 'shop/Procfile': 'web: node a.js\n' });
    const { exitCode, stderr } = await ran(['deploy', 'shop', flag, value], { cwd });
    t.is(exitCode, 2);
    t.regex(stderr, says);
    t.is(admin.apps().items.length, 1);
  });
}

test('an addon that the command line binds is no reason to refuse; one that nobody binds is', async t => {
  const { ran } = await cluster(t);
  const toml = '[metadata]\nid = "shop"\n[run]\nstart = "node shop.js"\n[[addons]]\ntype = "postgres"\n';
  const cwd = await directoryWith(t, { 'shop/hop3.toml': toml });
  const unbound = await ran(['deploy', 'shop'], { cwd });
  t.is(unbound.exitCode, 1);
  t.regex(unbound.stderr, /addons\[0\]: nobody has bound the postgres addon/);
  const bound = await ran(['deploy', 'shop', '--env', 'DATABASE_URL=postgres://db/shop'], { cwd });
  t.is(bound.exitCode, 0, bound.stderr);
});

test('what Hop3 takes and this agent cannot do is refused with its place', async t => {
  const { ran } = await cluster(t);
  const cwd = await directoryWith(t, {
    'shop/hop3.toml': '[metadata]\nid = "shop"\n[run]\nstart = "node shop.js"\n[waf]\nenabled = true\n',
  });
  const { exitCode, stderr } = await ran(['deploy', 'shop'], { cwd });
  t.is(exitCode, 1);
  t.regex(stderr, /^shop\/hop3\.toml:5:\d+: error: waf: there is no web application firewall here$/m);
});

test('a directory with nothing to run is not deployed', async t => {
  const { ran } = await cluster(t);
  const cwd = await directoryWith(t, { 'shop/README': '' });
  const { exitCode, stderr } = await ran(['deploy', 'shop'], { cwd });
  t.is(exitCode, 1);
  t.regex(stderr, /there is nothing to run/);
});

test('remove asks a person, and goes by the answer', async t => {
  const { admin, ran } = await cluster(t);
  const no = await ran(['remove', 'blog'], { canAsk: true, stdin: 'n\n' });
  t.is(no.exitCode, 1);
  t.regex(
    no.stderr,
    /^Remove blog \(web 2\/2, mailer 1\/1\)\? Its data directories stay on their nodes\. \[y\/N\] nothing was removed\n$/,
  );
  t.is(admin.apps().items.length, 1);
  const yes = await ran(['remove', 'blog'], { canAsk: true, stdin: 'y\n' });
  t.is(yes.exitCode, 0);
  t.is(yes.stdout, 'blog: removing, its instances are being stopped\n');
  t.is(admin.apps().items.length, 0);
});

test('remove without a person needs --yes', async t => {
  const { admin, ran } = await cluster(t);
  const refused = await ran(['remove', 'blog']);
  t.is(refused.exitCode, 2);
  t.regex(refused.stderr, /^hint: hop3-agent remove blog --yes$/m);
  t.is(admin.apps().items.length, 1);
  t.is((await ran(['remove', 'blog', '--yes'])).exitCode, 0);
  t.is((await ran(['remove', 'blog', '--yes'])).exitCode, 3);
});

test('scale changes the numbers, and waits when asked', async t => {
  const { ran, show } = await cluster(t);
  t.is((await ran(['scale', 'blog', 'web=3', 'mailer=0'])).stdout, 'blog: web 3/3, mailer 0/0\n');
  show(({ index }, look) => (index > 2 && look < 3 ? { ready: false, state: 'unplaced' } : {}));
  const { exitCode, stdout, stderr } = await ran(['scale', 'blog', 'web=4', '--wait']);
  t.is(exitCode, 0);
  t.is(stdout, 'blog: web 4/4, mailer 0/0\n');
  t.regex(stderr, /waiting for blog\/web: 3 of 4 ready \(unplaced\)/);
});

test('a log is told every few seconds at most what is waited for, a terminal of each change', async t => {
  for (const isTty of [false, true]) {
    const { ran, show } = await cluster(t);
    show(({ process, index }, look) => (process === 'web' && index >= look ? { ready: false } : {}));
    const { stderr } = await ran(['scale', 'blog', 'web=21', '--wait'], { isTty });
    const told = [...stderr.matchAll(/waiting for blog\/web: (\d+) of 21 ready/g)].map(([, ready]) => ready);
    // A look each half a second, and another one ready.
    t.deepEqual(told, isTty ? Array.from({ length: 20 }, (_, look) => String(look + 1)) : ['1', '11']);
  }
});

test('scale says at once what keeps some of it from running, and before it waits', async t => {
  const { ran, admin } = await cluster(t);
  const message = `port 8448/tcp can be had once on each node, and 3 nodes could give it: 4 of "web" can't all run`;
  const place = { file: 'blog', line: 0, column: 0, field: 'ports[0].number', conflict: true as const };
  admin.warnings = [{ ...place, message, hint: 'scale it down, or add nodes' }];
  const said = await ran(['scale', 'blog', 'web=4']);
  t.deepEqual(said, {
    exitCode: 0,
    stdout: 'blog: web 4/4, mailer 1/1\n',
    stderr: `warning: blog: ports[0].number: ${message} (scale it down, or add nodes)\n`,
  });
  const { warnings } = answerOf<ScaledApp>(await ran(['scale', 'blog', 'web=4', '--wait', '--json']));
  t.deepEqual(warnings, admin.warnings);
});

test('restart --wait waits until every instance runs another version', async t => {
  const { ran, show } = await cluster(t);
  t.is((await ran(['restart', 'blog', 'web'])).stdout, 'blog/web: restarting, web 2/2, mailer 1/1\n');
  show(({ index, process }, look) => (process === 'web' && look > 1 + index ? { version: '1.1' } : {}));
  const { exitCode, stdout, stderr } = await ran(['restart', 'blog', 'web', '--wait']);
  t.is(exitCode, 0);
  t.is(stdout, 'blog/web: restarted, web 2/2, mailer 1/1\n');
  t.regex(stderr, /waiting for blog\/web: 1 of 2 ready \(still to be replaced\)/);
});

test('drain says how far it is, and undrain that it is over', async t => {
  const { ran, admin } = await cluster(t);
  const { exitCode, stdout } = await ran(['drain', 'n2', '--reason', 'new kernel']);
  t.is(exitCode, 0);
  t.is(stdout, 'n2: draining, 1 instance left\n');
  t.is(admin.drains.get('n2')?.reason, 'new kernel');
  t.regex((await ran(['nodes'])).stdout, /^n2 +Active \(draining, 1 left\)/m);
  t.is((await ran(['undrain', 'n2'])).stdout, 'n2: takes work again\n');
  t.is((await ran(['drain', 'n9'])).exitCode, 3);
});

test('rebalance says what would move and why, and moves nothing; with --apply it names the plan that does', async t => {
  const { ran, admin } = await cluster(t);
  const would = await ran(['rebalance']);
  t.is(would.exitCode, 0);
  t.regex(would.stdout, /^blog\/web\/1 +n1 +n3 +n1 has 2 of blog\/web, n3 has 0$/m);
  t.regex(would.stdout, /^ {2}blog\/mailer\/0 on n1: it is exclusive$/m);
  t.regex(
    would.stdout,
    /1 instance would move, one after the other; hop3-agent rebalance --apply does it\n$/,
  );
  const { stdout } = await ran(['rebalance', '--apply']);
  t.regex(stdout, /^plan-1 moves them; hop3-agent batch status plan-1 --watch shows how far it is$/m);
  admin.even = true;
  for (const args of [['rebalance'], ['rebalance', '--apply', '--wait']])
    t.regex((await ran(args)).stdout, /^it is as even as it can be: nothing would move$/m);
  t.is((JSON.parse((await ran(['rebalance', '--apply', '--json'])).stdout) as { plan: null }).plan, null);
});

test('drain --wait ends when the node is empty', async t => {
  const { ran, admin } = await cluster(t);
  admin.onLook = () => {
    for (const progress of admin.drains.values()) progress.left = Math.max(0, progress.left - 1);
  };
  const { exitCode, stdout, stderr } = await ran(['drain', 'n2', '--wait']);
  t.is(exitCode, 0, stderr);
  t.is(stdout, 'n2: drained, nothing runs there any more\n');
});

test('drain --wait fails with what has nowhere to go, and why', async t => {
  const { ran, admin } = await cluster(t);
  admin.onLook = () => {
    for (const progress of admin.drains.values())
      progress.stays = [{ instance: 'blog/web/1', why: 'n1 has no label disk; n3 is draining' }];
  };
  const { exitCode, stderr } = await ran(['drain', 'n2', '--wait']);
  t.is(exitCode, 1);
  t.regex(stderr, /n2 is not empty: what is left has nowhere to go/);
  t.regex(stderr, /blog\/web\/1 stays: n1 has no label disk; n3 is draining/);
  t.regex(stderr, /hop3-agent undrain n2/);
});

test('rollback goes back to the release before, or to the one that is named, and lists them', async t => {
  const { ran, admin } = await cluster(t);
  const cwd = await directoryWith(t, { 'shop.yaml': shop, 'shop/shop.js': '' });
  for (let time = 0; time < 3; time++) await ran(['apply', 'shop.yaml'], { cwd });
  const { exitCode, stdout } = await ran(['rollback', 'shop', '--wait']);
  t.is(exitCode, 0);
  t.is(stdout, 'shop: is back at release 2, web 2/2\n');
  t.is((await ran(['rollback', 'shop', '1'])).stdout, 'shop: goes back to release 1, web 2/2\n');
  t.is(admin.app('shop').release, 1);
  const listed = await ran(['rollback', 'shop', '--list']);
  t.regex(listed.stdout, /^1 +- +\S+ +- +yes +wanted now$/m);
  t.is((await ran(['rollback', 'shop'])).exitCode, 6);
  t.is((await ran(['rollback', 'shop', 'v1'])).exitCode, 2);
});

test('apply --wait fails when the release is given up, and says why', async t => {
  const { ran, admin } = await cluster(t);
  const cwd = await directoryWith(t, { 'shop.yaml': shop, 'shop/shop.js': '' });
  await ran(['apply', 'shop.yaml'], { cwd });
  const asItIs = admin.app.bind(admin);
  admin.app = name => ({
    ...asItIs(name),
    release: 1,
    givenUp: { release: 2, to: 1, reason: 'shop/web/0: exited with code 1', at: '2026-01-01T00:00:00Z' },
  });
  const { exitCode, stderr } = await ran(['apply', 'shop.yaml', '--wait'], { cwd });
  t.is(exitCode, 8);
  t.regex(stderr, /release 2 of shop was given up, 1 runs on: shop\/web\/0: exited with code 1/);
});

test('promote lets what waits take over', async t => {
  const { ran } = await cluster(t);
  t.is((await ran(['promote', 'blog'])).stdout, 'blog: release 1 takes over, web 2/2, mailer 1/1\n');
  t.is((await ran(['promote', 'nosuch'])).exitCode, 3);
});
