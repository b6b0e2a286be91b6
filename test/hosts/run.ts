/**
 * `npm run test:hosts` boots three hosts, installs the agent on them as an operator does, and breaks them in turn.
 * `-- --quick` is the short form, `-- --only TEXT` runs what has TEXT in its name (and the first two, which set it up); it may be
 * given several times. `-- --cycles N` says how often an agent fails in each way while it runs what is exclusive (5; 1 in the
 * short form).
 * It needs root, and takes from Debian's packages what is missing.
 */
import { execFile } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { bootFleet, journalOf, type Fleet } from './fleet.ts';
import { PATH } from './host.ts';
import { hostsDirectory, inAWorldOfItsOwn } from './inside.ts';
import { scenarios } from './scenarios.ts';
import { debianTree, provideTools, whyNot } from './tree.ts';

const root = join(import.meta.dirname, '../..');
const cache = join(root, '.cache/hosts');
const SET_UP = 2;
const LAST_WORDS = 40;
/** By the places of the scenarios, of the last run. */
const journals = join(cache, 'journals');
const { values: asked, positionals } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true, default: [''] },
    cycles: { type: 'string' },
  },
  allowPositionals: true,
});
const form = { quick: asked.quick, cycles: Number(asked.cycles ?? (asked.quick ? 1 : 5)) };
const wanted = scenarios.filter(
  ({ name, quick }) => asked.only.some(text => name.includes(text)) && (quick || !asked.quick),
);
const chosen = scenarios.filter((scenario, index) => index < SET_UP || wanted.includes(scenario));
process.env['PATH'] = PATH;

if (process.env['HOP3_HOSTS_DIRECTORY'] !== undefined) process.exit(await inside(positionals[0]!));
const misused = misuse();
if (misused !== null) {
  process.stderr.write(`error: ${misused}\n`);
  process.exit(2);
}
process.exit(await outside(process.argv.slice(2)));

/** What is wrong with what was asked for, or null. */
function misuse(): string | null {
  if (positionals.length > 0) return `what is ${positionals.join(' ')}?`;
  if (!Number.isInteger(form.cycles) || form.cycles < 1)
    return `--cycles takes a whole number from 1 on, not ${asked.cycles}`;
  return wanted.length > 0 ? null : `nothing is named "${asked.only.join('" or "')}"`;
}

/** Everything that needs the network of this machine. */
async function outside(args: string[]): Promise<number> {
  const reason = whyNot();
  if (reason !== null) {
    process.stderr.write(`error: ${reason}\n`);
    process.stdout.write('0 passed, 1 failed\n');
    return 1;
  }
  await provideTools();
  await debianTree(cache);
  const made = join(cache, `release-${process.pid}`);
  await promisify(execFile)(process.execPath, [join(root, 'deploy/release.js'), made]);
  return inAWorldOfItsOwn(import.meta.filename, [made, ...args], [made]);
}

async function inside(release: string): Promise<number> {
  const fleet = await bootFleet({ tree: await debianTree(cache), release, directory: hostsDirectory() });
  let passed = 0;
  let failed = 0;
  await rm(journals, { recursive: true, force: true });
  for (const [index, scenario] of chosen.entries()) {
    const { name } = scenario;
    const beganMs = performance.now();
    const tried = await scenario.run(fleet, form).then(
      measured => ({ measured }),
      (error: unknown) => ({ error }),
    );
    const tookSeconds = Math.ceil((performance.now() - beganMs) / 1000);
    const words = await keepJournals(fleet, String(scenarios.indexOf(scenario) + 1), tookSeconds);
    if ('measured' in tried) {
      passed++;
      process.stdout.write(`ok   ${name} (${tookSeconds} s): ${tried.measured}\n`);
      continue;
    }
    failed++;
    process.stdout.write(`FAIL ${name} (${tookSeconds} s): ${(tried.error as Error).message}\n${words}\n`);
    // What follows would only fail for the same reason.
    if (index < SET_UP) break;
  }
  await Promise.all(fleet.nodes.filter(({ host }) => host.isRunning).map(({ host }) => host.powerOff()));
  const leftOut = scenarios.length - passed - failed;
  process.stdout.write(`${passed} passed, ${failed} failed, ${leftOut} left out\n`);
  return failed === 0 ? 0 : 1;
}

/** Keeps what the hosts' journals have of a scenario. Gives the end of each, in words. */
async function keepJournals({ nodes }: Fleet, scenario: string, seconds: number): Promise<string> {
  const kept = join(journals, scenario);
  await mkdir(kept, { recursive: true });
  const texts = await Promise.all(
    nodes.map(async node => {
      const journal = await journalOf(node, seconds).catch(String);
      await writeFile(join(kept, `${node.host.name}.log`), journal);
      return `--- ${node.host.name}\n${journal.split('\n').slice(-LAST_WORDS).join('\n')}`;
    }),
  );
  return `${texts.join('\n')}\nthe whole of it is in ${kept}`;
}
