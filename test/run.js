/**
 * The test command: sets up what is missing, runs the suites and holds the house rules, and ends with a line of totals.
 * `npm test -- --only SUITE` runs one of them.
 */
import { spawn } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { compileTests } from './compile.js';

const root = join(import.meta.dirname, '..');
const bin = name => join(root, 'node_modules/.bin', name);

/** What runs real etcd, HAProxy, servers, apps or package managers, and therefore depends on time. */
const real = ['api', 'artifacts', 'cli', 'contract', 'drivers', 'main', 'platform', 'proxy', 'rpc', 'store'];
const apart = ['cluster'];
/** Of the clusters, those that mostly wait for leases to end: they bear each other's company. */
const waiting = ['exclusive', 'fencing', 'own'];

const hasPassed = /^ {2}✔ /;
/** In AVA's summary, which tells how many passed only if all did. Tests that are skipped or yet to be written count as well. */
const isFailure =
  /^((tests?|hooks?) (failed|skipped|todo|remained pending.*)|known failures?|unhandled rejections?|uncaught exceptions?)$/;

/** Of this run alone: another one in the same checkout has files of its own. */
const compiled = `.cache/tests/${process.pid}`;
/**
 * A limit for what hangs, not for what is slow: it counts from when a test of any file last ended. Machines differ, and what only
 * computes gets little of a processor when others want it.
 */
const ava = [bin('ava'), '--no-color', '--timeout=180s'];
/**
 * For what only computes, beside suites that depend on time: a tenth of a processor that one of those wants. With less
 * (at 19 it is a seventieth) what takes a process a moment takes it longer than whoever waits for that has patience.
 */
const patient = ['nice', '-n', '10'];
/**
 * Suites of one lane run one after the other, lanes side by side. What depends on time has two of them, each with one file at a
 * time: a lease or a probe that is late because others have the processor proves nothing, but most of them wait most of the time.
 */
const lanes = [
  {
    real: {
      command: [...ava, '--concurrency=1', ...patterns(name => real.includes(name))],
      isAva: true,
    },
    types: { command: [...patient, bin('tsc')] },
    lint: { command: [...patient, bin('eslint'), 'src', 'test'] },
    format: {
      command: [
        ...patient,
        bin('prettier'),
        ...['--check', '--log-level', 'warn', 'src', 'test', 'deploy', '*.js', '*.json', 'manifests/*.json'],
      ],
    },
    imports: {
      command: [
        ...patient,
        bin('depcruise'),
        ...['src', '--config', 'test/import-rules.js', '--output-type', 'err'],
      ],
    },
    dead: { command: [...patient, bin('knip')] },
  },
  {
    cluster: {
      command: [...ava, '--serial', ...clusters(name => !waiting.includes(name))],
      isAva: true,
    },
    ownership: {
      command: [...ava, `--concurrency=${waiting.length}`, ...clusters(name => waiting.includes(name))],
      isAva: true,
    },
  },
  {
    unit: { command: [...patient, ...ava, ...patterns(name => !real.includes(name))], isAva: true },
  },
];
const build = { build: { command: [process.execPath, 'deploy/build.js'] } };

const names = [build, ...lanes].flatMap(lane => Object.keys(lane));
const given = process.argv.slice(2);
const only = given.length === 0 ? null : (given[1] ?? '');
if (only !== null && (given.length !== 2 || given[0] !== '--only' || !names.includes(only))) {
  const asked = given.map(each => `"${each}"`).join(' ');
  process.stderr.write(`error: ${asked}: nothing, or --only and one of ${names.join(', ')}\n`);
  process.exit(2);
}

const totals = { passed: 0, failed: 0 };
/** The ends of what failing suites said, told again after all others: AVA tells there what failed, and how. */
const failures = [];
const LINES_OF_FAILURE = 120;
const env = { ...process.env, ...(await toolsEnvironment()), HOP3_TESTS: compiled };
process.once('exit', () => rmSync(join(root, compiled), { recursive: true, force: true }));
const chosen = lane => Object.entries(lane).filter(([name]) => only === null || only === name);
if (lanes.flatMap(chosen).some(([, { isAva = false }]) => isAva)) await compileTests(compiled);
const running = new Map();
const progress = setInterval(() => {
  const soFar = [...running].map(([name, { passed }]) => `${name} ${passed}`);
  process.stdout.write(`# passed so far: ${soFar.join(', ')}\n`);
}, 30_000);
await go(build);
await Promise.all(lanes.map(go));
clearInterval(progress);
if (only === null) for (const lines of failures) process.stdout.write(`${lines.join('\n')}\n`);
process.stdout.write(`${totals.passed} passed, ${totals.failed} failed\n`);
process.exitCode = totals.failed === 0 ? 0 : 1;

async function go(lane) {
  for (const [name, suite] of chosen(lane)) await judge(name, suite, only === null && lane !== build);
}

async function judge(name, suite, hasCompany) {
  const beganMs = Date.now();
  const lines = [];
  // What runs side by side is told at the end of each, lest their words mix.
  const say = hasCompany ? line => lines.push(line) : line => process.stdout.write(`${line}\n`);
  if (!hasCompany) say(`# ${name}`);
  const counts = { passed: 0, failed: 0 };
  running.set(name, counts);
  const code = await run(suite, say, counts);
  running.delete(name);
  if (!suite.isAva) counts.passed = code === 0 ? 1 : 0;
  const { passed, failed } = counts;
  // A suite that dies without a failing test has failed all the same, and so has one that ran no test.
  const broken = failed === 0 && (code !== 0 || passed === 0);
  totals.passed += passed;
  totals.failed += failed + (broken ? 1 : 0);
  const verdict = broken || failed > 0 ? 'FAILED' : 'ok';
  lines.push(`# ${name}: ${verdict} in ${Math.round((Date.now() - beganMs) / 1000)} s`);
  process.stdout.write(`${lines.join('\n')}\n`);
  if (verdict !== 'ok') failures.push(lines.slice(-LINES_OF_FAILURE));
}

/** Of the folders of test/, and of the tests that lie beside them. */
function patterns(wanted) {
  const names = readdirSync(join(root, 'test'), { withFileTypes: true })
    .filter(entry => (entry.isDirectory() ? !apart.includes(entry.name) : entry.name.endsWith('.test.ts')))
    .filter(entry => wanted(entry.name));
  return names.map(entry =>
    entry.isDirectory()
      ? `${compiled}/${entry.name}/**/*.test.js`
      : `${compiled}/${entry.name.replace(/ts$/, 'js')}`,
  );
}

function clusters(wanted) {
  const names = readdirSync(join(root, 'test/cluster')).flatMap(
    name => /^(.+)\.test\.ts$/.exec(name)?.[1] ?? [],
  );
  return names.filter(wanted).map(name => `${compiled}/cluster/${name}.test.js`);
}

/** Runs one suite. Of what AVA says it tells all but the tests that passed, and those it counts. Gives the exit code. */
function run({ command: [file, ...args], isAva = false }, say, counts) {
  return new Promise(resolve => {
    const child = spawn(file, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
    createInterface({ input: child.stdout }).on('line', line => {
      if (isAva) count(line, counts);
      if (line.trim() !== '' && !(isAva && hasPassed.test(line))) say(line);
    });
    createInterface({ input: child.stderr }).on('line', say);
    child.on('close', resolve);
  });
}

function count(line, counts) {
  const [, number, what] = /^ {2}(\d+) (.+)$/.exec(line) ?? [];
  if (hasPassed.test(line)) counts.passed++;
  if (isFailure.test(what)) counts.failed += Number(number);
}

/** etcd, HAProxy and wrk for the tests, from PATH or from Debian's packages. */
async function toolsEnvironment() {
  const child = spawn(process.execPath, ['--import=tsx', 'test/tools.ts'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', chunk => (output += chunk));
  const code = await new Promise(resolve => child.on('close', resolve));
  if (code !== 0) {
    process.stdout.write('0 passed, 1 failed\n');
    process.exit(1);
  }
  return JSON.parse(output);
}
