/**
 * The test command: sets up what is missing, holds the house rules, runs the suites, and ends with a line of totals.
 * `npm test -- --only SUITE` runs one of them.
 */
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const root = join(import.meta.dirname, '..');
const bin = name => join(root, 'node_modules/.bin', name);

/** What runs real etcd, HAProxy, apps or package managers, and therefore depends on time. */
const real = ['artifacts', 'contract', 'drivers', 'platform', 'proxy', 'store'];
const apart = ['cluster'];

/** In AVA's summary, which tells how many passed only if all did. Tests that are skipped or yet to be written count as well. */
const isFailure =
  /^((tests?|hooks?) (failed|skipped|todo|remained pending.*)|known failures?|unhandled rejections?|uncaught exceptions?)$/;

const ava = [bin('ava'), '--no-color'];
const suites = {
  format: {
    command: [bin('prettier'), '--check', '--log-level', 'warn', 'src', 'test', 'deploy', '*.js', '*.json'],
  },
  types: { command: [bin('tsc')] },
  lint: { command: [bin('eslint'), 'src', 'test'] },
  imports: { command: [bin('depcruise'), 'src', '--config', 'test/import-rules.js', '--output-type', 'err'] },
  dead: { command: [bin('knip')] },
  build: { command: [process.execPath, 'deploy/build.js'] },
  unit: { command: [...ava, ...patterns(name => !real.includes(name))], isAva: true },
  // One file at a time: a lease or a probe that is late because others have the processor proves nothing.
  real: {
    command: [...ava, '--concurrency=1', ...patterns(name => real.includes(name))],
    isAva: true,
  },
  cluster: {
    command: [...ava, '--serial', '--timeout=180s', 'test/cluster/**/*.test.ts'],
    isAva: true,
  },
};

const totals = { passed: 0, failed: 0 };
const only = process.argv.includes('--only') ? process.argv[process.argv.indexOf('--only') + 1] : null;
if (only !== null && !(only in suites)) {
  process.stderr.write(`error: there is no suite "${only}": ${Object.keys(suites).join(', ')}\n`);
  process.exit(2);
}

const env = { ...process.env, ...(await toolsEnvironment()) };
for (const [name, suite] of Object.entries(suites)) {
  if (only !== null && only !== name) continue;
  const beganMs = Date.now();
  process.stdout.write(`# ${name}\n`);
  const { code, passed, failed } = await run(suite);
  // A suite that dies without a failing test has failed all the same, and so has one that ran no test.
  const broken = failed === 0 && (code !== 0 || passed === 0);
  totals.passed += passed;
  totals.failed += failed + (broken ? 1 : 0);
  const seconds = Math.round((Date.now() - beganMs) / 1000);
  process.stdout.write(`# ${name}: ${broken || failed > 0 ? 'FAILED' : 'ok'} in ${seconds} s\n`);
}
process.stdout.write(`${totals.passed} passed, ${totals.failed} failed\n`);
process.exitCode = totals.failed === 0 ? 0 : 1;

/** Of the folders of test/, and of the tests that lie beside them. */
function patterns(wanted) {
  const names = readdirSync(join(root, 'test'), { withFileTypes: true })
    .filter(entry => (entry.isDirectory() ? !apart.includes(entry.name) : entry.name.endsWith('.test.ts')))
    .filter(entry => wanted(entry.name));
  return names.map(entry => (entry.isDirectory() ? `test/${entry.name}/**/*.test.ts` : `test/${entry.name}`));
}

/** Runs one suite. Of what AVA says it shows all but the tests that passed, and those it counts. */
function run({ command: [file, ...args], isAva = false }) {
  return new Promise(resolve => {
    const child = spawn(file, args, {
      cwd: root,
      env,
      stdio: ['ignore', isAva ? 'pipe' : 'inherit', 'inherit'],
    });
    const counts = { passed: 0, failed: 0 };
    if (isAva) createInterface({ input: child.stdout }).on('line', line => tell(line, counts));
    child.on('close', code =>
      resolve({ code, ...(isAva ? counts : { passed: code === 0 ? 1 : 0, failed: 0 }) }),
    );
  });
}

function tell(line, counts) {
  const [, number, what] = /^ {2}(\d+) (.+)$/.exec(line) ?? [];
  if (isFailure.test(what)) counts.failed += Number(number);
  if (/^ {2}✔ /.test(line)) counts.passed++;
  else if (line.trim() !== '') process.stdout.write(`${line}\n`);
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
