/**
 * `npm run test:hosts` boots three hosts, installs the agent on them as an operator does, and breaks them in turn.
 * It needs root, and takes from Debian's packages what is missing.
 */
import { execFile } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { developersCommand, wholeNumber } from '../support/developers-command.ts';
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
const command = developersCommand(
  'test:hosts',
  'Boots three hosts with the agent on them, and breaks them in turn.',
)
  .option('--quick', 'the short form')
  .option(
    '--only <text>',
    'runs what has this in its name, and the first two, which set it up; may be given several times',
    (text, before: string[] | undefined) => [...(before ?? []), text],
  )
  .option(
    '--cycles <number>',
    'how often an agent fails in each way while it runs what is exclusive (default: 5, in the short form 1)',
    wholeNumber(1),
  );
const isInside = process.env['HOP3_HOSTS_DIRECTORY'] !== undefined;
// Inside, the release comes before what was asked for.
const [release, args] = isInside ? [process.argv[2]!, process.argv.slice(3)] : ['', process.argv.slice(2)];
const asked = command.parse(args, { from: 'user' }).opts<HostsArguments>();
const { quick: isShort = false, only = [''] } = asked;
const form = { quick: isShort, cycles: asked.cycles ?? (isShort ? 1 : 5) };
const wanted = scenarios.filter(
  ({ name, quick }) => only.some(text => name.includes(text)) && (quick || !isShort),
);
if (wanted.length === 0)
  command.error(`error: option '--only <text>': nothing has "${only.join('" or "')}" in its name`);
const chosen = scenarios.filter((scenario, index) => index < SET_UP || wanted.includes(scenario));
process.env['PATH'] = PATH;

process.exit(isInside ? await inside() : await outside());

interface HostsArguments {
  quick?: true;
  only?: string[];
  cycles?: number;
}

/** Everything that needs the network of this machine. */
async function outside(): Promise<number> {
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

async function inside(): Promise<number> {
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
