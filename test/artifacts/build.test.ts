import { chmod, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { AppSpec } from '../../src/model/app-spec.ts';
import { ArtifactError, type Artifacts, type BuildNote } from '../../src/ports/artifacts.ts';
import { until } from '../support/until.ts';
import {
  artifactsIn,
  never,
  realClock,
  spec,
  streamOf,
  tarball,
  temporaryDirectory,
  tree,
  upload,
} from './helpers.ts';

async function run(artifacts: Artifacts, app: AppSpec, signal = never) {
  const notes: BuildNote[] = [];
  const ref = await artifacts.build(app, note => notes.push(note), signal);
  return { ref, texts: notes.map(note => note.text) };
}

test('commands run before, instead of and after the builder, each seen with its output', async t => {
  const { artifacts, stateDir } = await artifactsIn(t);
  const digest = await upload(artifacts, await tree(t, { 'in.txt': 'hello' }));
  const app = spec({
    source: { kind: 'uploaded', digest },
    env: {
      GREETING: { kind: 'literal', value: 'good day' },
      SECRET: { kind: 'generated', format: 'hex', length: 8, prefix: '' },
    },
    build: {
      beforeBuild: ['echo before > order'],
      build: [
        'echo "$GREETING, ${SECRET:-no secret}, CI=$CI" > out.txt',
        'echo build >> order; echo speaking',
      ],
      afterBuild: ['echo after >> order'],
    },
  });
  const { ref, texts } = await run(artifacts, app);
  t.not(ref.digest, digest);
  t.regex(ref.platform ?? '', /^linux-\w+-node\d+$/);
  t.true(texts.includes('speaking'));
  const { directory } = await artifacts.unpack(ref.digest, 'shop', 1);
  t.is(await readFile(join(directory, 'order'), 'utf8'), 'before\nbuild\nafter\n');
  t.is(await readFile(join(directory, 'out.txt'), 'utf8'), 'good day, no secret, CI=1\n');
  t.is(await readFile(join(directory, 'in.txt'), 'utf8'), 'hello');
  t.deepEqual(await readdir(join(stateDir, 'builds')), []);
});

test("the app's own variables reach its build, but not in place of PATH and HOME", async t => {
  const { artifacts, stateDir } = await artifactsIn(t);
  const digest = await upload(artifacts, await tree(t, { a: '1' }));
  const literal = (value: string) => ({ kind: 'literal', value }) as const;
  const app = spec({
    source: { kind: 'uploaded', digest },
    env: { LANG: literal('de_DE.UTF-8'), PATH: literal('/nowhere'), HOME: literal('/nowhere') },
    build: { build: ['echo "$LANG $HOME"; ls > /dev/null'] },
  });
  t.true((await run(artifacts, app)).texts.includes(`de_DE.UTF-8 ${join(stateDir, 'cache/home')}`));
});

test('the second build of the same is answered from the cache; another source, command or variable is built', async t => {
  const { artifacts } = await artifactsIn(t);
  const digest = await upload(artifacts, await tree(t, { a: '1' }));
  const app = spec({ source: { kind: 'uploaded', digest }, build: { build: ['date +%N > made'] } });
  const first = await run(artifacts, app);
  const second = await run(artifacts, { ...app, hostnames: ['shop.example.com'], title: 'Shop' });
  t.deepEqual(second.ref, first.ref);
  t.deepEqual(second.texts, [`built before: ${first.ref.digest}`]);

  const other = await upload(artifacts, await tree(t, { a: '2' }));
  for (const changed of [
    { ...app, source: { kind: 'uploaded', digest: other } },
    { ...app, build: { ...app.build, build: ['date +%N > made; true'] } },
    { ...app, env: { A: { kind: 'literal', value: '1' } } },
  ] as AppSpec[]) {
    t.not((await run(artifacts, changed)).ref.digest, first.ref.digest);
  }
});

test('that nothing has to be built is known for every app of the same source; what was built is its own app’s', async t => {
  const { artifacts } = await artifactsIn(t);
  const digest = await upload(artifacts, await tree(t, { a: '1' }));
  const plain = spec({ source: { kind: 'uploaded', digest } });
  const made = { ...plain, build: { ...plain.build, build: ['date +%N > made'] } };
  t.is(await artifacts.builtBefore(plain, digest), null);
  const { ref } = await run(artifacts, plain);
  t.is(ref.digest, digest);
  t.deepEqual(await artifacts.builtBefore({ ...plain, app: 'other' }, digest), ref);
  t.deepEqual((await run(artifacts, { ...plain, app: 'other' })).texts, [`built before: ${digest}`]);
  t.is(await artifacts.builtBefore(made, digest), null);
  const built = await run(artifacts, made);
  t.deepEqual(await artifacts.builtBefore(made, digest), built.ref);
  t.is(await artifacts.builtBefore({ ...made, app: 'other' }, digest), null);
});

test('a cached build whose artifact is gone is built again', async t => {
  const { artifacts, stateDir } = await artifactsIn(t);
  const digest = await upload(artifacts, await tree(t, { a: '1' }));
  const app = spec({ source: { kind: 'uploaded', digest }, build: { build: ['echo made > made'] } });
  await run(artifacts, app);
  await artifacts.collect({ digests: [digest], releases: [] });
  t.deepEqual(await readdir(join(stateDir, 'build-cache')), []);
  const again = await run(artifacts, app);
  t.true(await artifacts.has(again.ref.digest));
});

test('a build that fails says which command, with its last lines, and leaves nothing', async t => {
  const { artifacts, stateDir } = await artifactsIn(t);
  const digest = await upload(artifacts, await tree(t, { a: '1' }));
  const app = spec({
    source: { kind: 'uploaded', digest },
    build: { build: ['echo compiling; echo broken >&2; exit 2'] },
  });
  const error = await t.throwsAsync(run(artifacts, app), {
    instanceOf: ArtifactError,
    message: /failed with exit code 2/,
  });
  t.deepEqual(error.output.toSorted(), ['broken', 'compiling']);
  t.deepEqual(await readdir(join(stateDir, 'builds')), []);
  t.deepEqual(
    (await artifacts.list()).map(stored => stored.digest),
    [digest],
  );
});

test('a build does not fail for what it left behind, which still writes; what stays is cleared away later', async t => {
  const { artifacts, stateDir } = await artifactsIn(t);
  const digest = await upload(artifacts, await tree(t, { a: '1' }));
  const going = join(await temporaryDirectory(t), 'going');
  await writeFile(going, '');
  // Four, each in a session of its own, so that a directory just emptied is hardly so until it is removed.
  const writer = `i=0; while [ -e ${going} ]; do echo > ../kept/$$-$i; i=$(( (i + 1) % 2000 )); done`;
  const start = `mkdir ../kept; for n in 1 2 3 4; do setsid sh -c '${writer}' > /dev/null 2>&1 & done`;
  const build = [`${start}; until [ "$(ls ../kept | wc -l)" -ge 8000 ]; do :; done`];
  await t.notThrowsAsync(run(artifacts, spec({ source: { kind: 'uploaded', digest }, build: { build } })));
  await rm(going);
  await until('nothing is left of it', async () => {
    await artifacts.collect({ digests: [], releases: [] });
    return (await readdir(join(stateDir, 'builds'))).length === 0;
  });
});

test('a build can be aborted, and takes no longer than it may', async t => {
  const { artifacts } = await artifactsIn(t, { limits: { commandSeconds: 0.3 } });
  const digest = await upload(artifacts, await tree(t, { a: '1' }));
  const app = spec({ source: { kind: 'uploaded', digest }, build: { build: ['sleep 60'] } });
  await t.throwsAsync(run(artifacts, app), { message: /took longer than 0\.3 s/ });
  const controller = new AbortController();
  const building = artifacts.build(app, () => controller.abort(new Error('enough')), controller.signal);
  await t.throwsAsync(building, { message: 'enough' });
});

for (const builder of ['docker', 'nix'] as const) {
  test(`the builder ${builder} is refused`, async t => {
    const { artifacts } = await artifactsIn(t);
    const digest = await upload(artifacts, await tree(t, { a: '1' }));
    const app = spec({ source: { kind: 'uploaded', digest }, build: { builder } });
    await t.throwsAsync(run(artifacts, app), {
      instanceOf: ArtifactError,
      message: /not supported: use auto/,
    });
  });
}

test('with the builder none nothing is run', async t => {
  const { artifacts } = await artifactsIn(t);
  const digest = await upload(artifacts, await tree(t, { 'requirements.txt': 'no-such-package-anywhere' }));
  const app = spec({ source: { kind: 'uploaded', digest }, build: { builder: 'none', build: ['exit 1'] } });
  t.is((await run(artifacts, app)).ref.digest, digest);
});

test('a Node app without dependencies runs as it is, on any platform', async t => {
  const { artifacts } = await artifactsIn(t);
  const digest = await upload(artifacts, await tree(t, { 'package.json': '{}', 'app.js': '' }));
  const { ref } = await run(artifacts, spec({ source: { kind: 'uploaded', digest } }));
  t.deepEqual([ref.digest, ref.platform], [digest, null]);
});

test('a build that makes a link out of its directory is refused', async t => {
  const { artifacts } = await artifactsIn(t);
  const digest = await upload(artifacts, await tree(t, { a: '1' }));
  const app = spec({ source: { kind: 'uploaded', digest }, build: { build: ['ln -s /etc/passwd users'] } });
  await t.throwsAsync(run(artifacts, app), {
    message: /made a link out of its directory: users to \/etc\/passwd/,
  });
});

test("what was built says so in Hop3's BUILD_ARTIFACT.json, at its own place", async t => {
  const { artifacts } = await artifactsIn(t);
  const digest = await upload(artifacts, await tree(t, { 'run.sh': 'true' }));
  const app = spec({
    source: { kind: 'uploaded', digest },
    build: { build: ['true'] },
  });
  const { ref } = await run(artifacts, app);
  const { directory } = await artifacts.unpack(ref.digest, 'shop', 3);
  const text = await readFile(join(directory, 'BUILD_ARTIFACT.json'), 'utf8');
  const written = JSON.parse(text) as { built_at: string };
  t.like(written, {
    kind: 'generic',
    builder: 'local',
    app_name: 'shop',
    location: directory,
    metadata: { source: digest },
    runtime: { working_dir: directory, env_vars: {}, path_prepend: [] },
  });
  t.false(Number.isNaN(Date.parse(written.built_at)));
});

test("another builder's artifact gives its environment and path, moved to where it is", async t => {
  const { artifacts } = await artifactsIn(t);
  const digest = await upload(
    artifacts,
    await tree(t, {
      'BUILD_ARTIFACT.json': JSON.stringify({
        kind: 'node',
        location: '/srv/build/x',
        runtime: {
          env_vars: { LIB: '/srv/build/x/lib', OTHER: '/srv/build/xyz', MODE: 'fast' },
          path_prepend: ['/srv/build/x/bin', 'tools', '/opt/bin'],
        },
      }),
    }),
  );
  const { directory, env, pathPrepend } = await artifacts.unpack(digest, 'shop', 1);
  t.deepEqual(env, { LIB: join(directory, 'lib'), OTHER: '/srv/build/xyz', MODE: 'fast' });
  t.deepEqual(pathPrepend, [join(directory, 'bin'), join(directory, 'tools'), '/opt/bin']);
});

for (const [name, text] of [
  ['no JSON', '{'],
  ['a wrong type', '{"runtime":{"env_vars":{"A":1}}}'],
] as const) {
  test(`a BUILD_ARTIFACT.json with ${name} is refused, and nothing is unpacked`, async t => {
    const { artifacts, stateDir } = await artifactsIn(t);
    const digest = await upload(artifacts, await tree(t, { 'BUILD_ARTIFACT.json': text }));
    await t.throwsAsync(artifacts.unpack(digest, 'shop', 1), {
      instanceOf: ArtifactError,
      message: /BUILD_ARTIFACT\.json cannot be read/,
    });
    t.deepEqual(await readdir(join(stateDir, 'apps/shop/releases')), []);
  });
}

test('a release is unpacked once; another digest for it is unpacked anew', async t => {
  const { artifacts, stateDir } = await artifactsIn(t);
  const one = await upload(artifacts, await tree(t, { 'index.html': 'one' }));
  const two = await upload(artifacts, await tree(t, { 'index.html': 'two' }));
  const { directory } = await artifacts.unpack(one, 'shop', 1);
  t.is(directory, join(stateDir, 'apps/shop/releases/1/src'));
  await writeFile(join(directory, 'written-by-the-app'), 'x');
  await artifacts.unpack(one, 'shop', 1);
  t.true((await readdir(directory)).includes('written-by-the-app'));
  await artifacts.unpack(two, 'shop', 1);
  t.is(await readFile(join(directory, 'index.html'), 'utf8'), 'two');
  t.deepEqual(await readdir(directory), ['index.html']);
  t.deepEqual(await readdir(join(stateDir, 'apps/shop/releases')), ['1']);
  await artifacts.unpack(one, 'shop', 1);
  t.is(await readFile(join(directory, 'index.html'), 'utf8'), 'one');
});

test('a release that was removed meanwhile, by whomever, is unpacked again', async t => {
  const { artifacts, stateDir } = await artifactsIn(t);
  const digest = await upload(artifacts, await tree(t, { 'index.html': 'one' }));
  const { directory } = await artifacts.unpack(digest, 'shop', 1);
  const removals = [
    () => artifacts.collect({ digests: [digest], releases: [] }),
    () => rm(join(stateDir, 'apps'), { recursive: true }),
  ];
  for (const remove of removals) {
    await remove();
    await artifacts.unpack(digest, 'shop', 1);
    t.is(await readFile(join(directory, 'index.html'), 'utf8'), 'one');
  }
});

test("an app's data is kept from release to release, where it also is in Hop3, and only for its user", async t => {
  const { artifacts, stateDir } = await artifactsIn(t);
  const digest = await upload(artifacts, await tree(t, { 'index.html': 'one' }));
  const first = await artifacts.unpack(digest, 'shop', 1);
  t.is(first.dataDirectory, join(stateDir, 'apps/shop/data'));
  t.is((await stat(first.dataDirectory)).mode & 0o777, 0o750);
  await writeFile(join(first.directory, '../data/notes'), 'kept');
  const second = await artifacts.unpack(digest, 'shop', 2);
  t.is(await readFile(join(second.directory, '../data/notes'), 'utf8'), 'kept');
  await artifacts.collect({ digests: [], releases: [] });
  t.is(await readFile(join(first.dataDirectory, 'notes'), 'utf8'), 'kept');
});

test('another agent on the same directory finds everything again', async t => {
  const { artifacts, stateDir } = await artifactsIn(t);
  const digest = await upload(artifacts, await tree(t, { 'index.html': 'one' }));
  const before = await artifacts.unpack(digest, 'shop', 1);
  await writeFile(join(stateDir, 'artifacts', '.incoming-crashed'), 'x');
  const { artifacts: next } = await artifactsIn(t, { stateDir });
  t.deepEqual(await next.unpack(digest, 'shop', 1), before);
  await next.collect({ digests: [digest], releases: [{ app: 'shop', release: 1 }] });
  t.is((await readdir(join(stateDir, 'artifacts'))).length, 1);
  t.true((await stat(before.directory)).isDirectory());
});

test('a damaged stored copy is not unpacked, and makes room for a whole one', async t => {
  const { artifacts, stateDir } = await artifactsIn(t);
  const digest = await upload(artifacts, await tree(t, { 'index.html': 'one' }));
  const file = join(stateDir, 'artifacts', `${digest.slice(7)}.tar.gz`);
  await chmod(file, 0o644);
  await writeFile(file, tarball([{ path: 'index.html', content: 'evil' }]));
  const error = await t.throwsAsync(artifacts.unpack(digest, 'shop', 1), {
    instanceOf: ArtifactError,
    message: /damaged/,
  });
  t.true(error.retryable);
  t.false(await artifacts.has(digest));
});

test('a name that is none is never made a path', async t => {
  const { artifacts } = await artifactsIn(t);
  const digest = await upload(artifacts, await tree(t, { a: '' }));
  await t.throwsAsync(artifacts.unpack(digest, '../../etc', 1), { message: /is no name of an app/ });
});

test('an unsafe upload is refused before it is kept', async t => {
  const { artifacts } = await artifactsIn(t);
  await t.throwsAsync(artifacts.receive(streamOf(tarball([{ path: '../evil' }])), null), {
    message: /leads out/,
  });
  t.deepEqual(await artifacts.list(), []);
});

test('what comes while what nobody needs is cleared away stays', async t => {
  const { artifacts } = await artifactsIn(t, { limits: { keepUnusedSeconds: 60 } });
  const uploads = { areOver: false };
  const collecting = (async () => {
    let all = 0;
    while (!uploads.areOver) all += (await artifacts.collect({ digests: [], releases: [] })).removed;
    return all;
  })();
  for (let count = 0; count < 20; count++) await upload(artifacts, await tree(t, { file: String(count) }));
  uploads.areOver = true;
  t.is(await collecting, 0);
  t.is((await artifacts.list()).length, 20);
});

test('what came a moment ago is not collected', async t => {
  const { artifacts } = await artifactsIn(t, { limits: { keepUnusedSeconds: 60 } });
  const digest = await upload(artifacts, await tree(t, { a: '' }));
  t.deepEqual(await artifacts.collect({ digests: [], releases: [] }), { removed: 0 });
  t.true(await artifacts.has(digest));
});

test('a release that was unpacked a moment ago stays', async t => {
  const { artifacts } = await artifactsIn(t, { limits: { keepUnusedSeconds: 60 } });
  const digest = await upload(artifacts, await tree(t, { a: '' }));
  const { directory } = await artifacts.unpack(digest, 'shop', 1);
  t.deepEqual(await artifacts.collect({ digests: [digest], releases: [] }), { removed: 0 });
  t.deepEqual(await readdir(directory), ['a']);
});

test('a release that is wanted again while it is being removed is there for whoever wants it', async t => {
  let nowMs = 0;
  const clock = { ...realClock, now: () => nowMs };
  const { artifacts } = await artifactsIn(t, { clock, limits: { keepUnusedSeconds: 60 } });
  const files = Object.fromEntries(Array.from({ length: 30 }, (_, index) => [`${index}/file`, '']));
  const digest = await upload(artifacts, await tree(t, files));
  const outcomes = new Set<number>();
  // One turn more each time, and on a slow disk many more: until some came before it was begun, and some after.
  for (let turns = 0; turns < 40 || (outcomes.size < 2 && turns < 1e6); turns += turns < 40 ? 1 : turns) {
    await artifacts.unpack(digest, 'shop', 1);
    nowMs += 61_000;
    const collecting = artifacts.collect({ digests: [digest], releases: [] });
    for (let turn = 0; turn < turns; turn++) await new Promise(resolve => setImmediate(resolve));
    const { directory } = await artifacts.unpack(digest, 'shop', 1);
    t.is((await readdir(directory)).length, 30, `after ${turns} turns`);
    outcomes.add((await collecting).removed);
    t.is((await readdir(directory)).length, 30, `in the end, after ${turns} turns`);
  }
  t.deepEqual([...outcomes].sort(), [0, 1]);
});

test('an uploaded tree can be looked into', async t => {
  const { artifacts } = await artifactsIn(t);
  const digest = await upload(
    artifacts,
    await tree(t, {
      'package.json': '{"scripts":{"start":"node ."}}',
      'lib/package.json': '{}',
      'app.js': 'x'.repeat(99),
    }),
  );
  t.deepEqual(await artifacts.inspect(digest), {
    packageStart: true,
    files: ['app.js', 'lib/package.json', 'package.json'],
  });
});

test('hooks see the directory and exactly the environment they are given, and can be aborted', async t => {
  const { artifacts } = await artifactsIn(t);
  const { artifacts: impatient } = await artifactsIn(t, { limits: { hookSeconds: 0.3 } });
  const directory = await temporaryDirectory(t);
  const lines: string[] = [];
  const place = { directory, env: { GREETING: 'hello' } };
  await artifacts.runHooks(['pwd; echo "$GREETING [$HOME]"'], place, note => lines.push(note.text), never);
  t.deepEqual(lines.slice(1), [directory, 'hello []']);
  await t.throwsAsync(
    impatient.runHooks(['sleep 60'], place, () => undefined, never),
    { message: /took longer than 0\.3 s/ },
  );
  const controller = new AbortController();
  await t.throwsAsync(
    artifacts.runHooks(['sleep 60'], place, () => controller.abort(new Error('enough')), controller.signal),
    { message: 'enough' },
  );
});
