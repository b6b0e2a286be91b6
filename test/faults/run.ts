/**
 * `npm run test:faults`: breaks a real etcd and real agents in every way of the matrix and judges the history of each run.
 * What needs root or libfaketime says so where it can't be had, and is counted as left out.
 */
import { appendFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { developersCommand, wholeNumber } from '../support/developers-command.ts';
import { pathWithTools } from '../tools.ts';
import { agentFaults, guardAndProcess } from './faults.ts';
import { allCycles, brokenGuardRow, failings, guardCycle, type GuardRow } from './guard-cycles.ts';
import { noPauses, pauseLeaders, type LeaderPauses } from './leader-pause.ts';
import { allOf, brokenPlanRow, notShown, planFaults, PlanWorld, type PlanRow } from './plans.ts';
import { brokenRow, runOnce, shown, together, type Row } from './judge.ts';
import { combinations, leftOut, type Combination } from './matrix.ts';
import { faketimeLibrary, isRoot, ratesOf, startOddClock, startWallClock } from './odd-clocks.ts';
import { TARGET, World, type WorldOptions } from './world.ts';

const ROOT = join(import.meta.dirname, '../..');
/** What must be seen may need several tries. */
const MOST_TRIES = 6;
/** About one pause in five does it. */
const MOST_PAUSES = 40;

const command = developersCommand(
  'test:faults',
  'Breaks a real etcd and real agents, and judges what they did.',
)
  .option('--quick', 'tries the combinations that matter most')
  .option('--only <part>', 'tries those with this in their names, as in "owner: SIGSTOP"')
  .option('--cycles <number>', 'repeats each so often', wholeNumber(1), 1)
  .parse();
const { quick = false, only, cycles } = command.opts<{ quick?: true; only?: string; cycles: number }>();
const file = join(ROOT, `.cache/faults-${new Date().toISOString().replaceAll(':', '-')}.jsonl`);
await mkdir(join(ROOT, '.cache'), { recursive: true });

const isWanted = (name: string, inShortForm: boolean): boolean =>
  only === undefined ? !quick || inShortForm : name.includes(only);
const totals = { passed: 0, failed: 0, leftOut: 0, cycles: 0, stale: 0, overlaps: 0 };
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  // What runs on without this process, as apps do by design, is ended with it.
  process.once(signal, () => {
    say(`ended by ${signal}`);
    void World.endAll().finally(() => process.exit(1));
  });
}
process.env['PATH'] = await pathWithTools();
const library = await faketimeLibrary();

print([
  'who: what',
  'judged',
  'cycles',
  'overlaps',
  'gap ms',
  'stale',
  'takeover ms',
  'acked',
  'named',
  'name ops',
  'name stale',
  'revoked',
  's',
]);
await matrix({ smallDisks: isRoot }, combinations(null));
await withWallClock();
for (const rate of [0.5, 2]) await withRate(rate);
await guards();
await leaderPauses();
await plans();
if (only === undefined && !quick)
  for (const { who, what, why } of leftOut) say(`left out - ${who}: ${what}: ${why}`);
say(
  `${totals.cycles} cycles, ${totals.overlaps} overlaps where they count, ${totals.stale} stale attempts; JSON lines: ${file}`,
);
if (totals.passed + totals.failed + totals.leftOut === 0)
  command.error(`error: option '--only <part>': nothing has "${only ?? ''}" in its name`);
say(`${totals.passed} passed, ${totals.failed} failed, ${totals.leftOut} left out`);
process.exitCode = totals.failed === 0 && totals.passed > 0 ? 0 : 1;

/** One world for all of them, and a new one after each that did not recover. */
async function matrix(options: WorldOptions, all: Combination[]): Promise<void> {
  let world: World | null = null;
  const ended = async (): Promise<void> => {
    const ending = world;
    world = null;
    if (ending) await stopped(ending);
  };
  try {
    for (const combination of all) {
      const name = `${combination.who}: ${combination.what}`;
      if (!isWanted(name, combination.quick === true)) continue;
      if (combination.what === 'disk full' && !isRoot) {
        leftOutHere(name, 'needs root, to mount a small disk');
        continue;
      }
      let row: Row | null = null;
      for (let tries = 0; tries < (combination.mustShow ? MOST_TRIES : cycles); tries++) {
        if (row !== null && tries >= cycles && shown(combination, row)) break;
        let once: Row;
        try {
          world ??= await World.start(options);
          once = await runOnce(world, combination);
        } catch (error) {
          once = brokenRow(combination, error);
        }
        row = row === null ? once : together(row, once);
        if (once.trouble.length > 0) {
          if (world) await told(world);
          await ended();
        }
      }
      if (row !== null) await report(combination, row);
    }
  } finally {
    await ended();
  }
}

/** The wall clock of all agents, whoever they are. */
async function withWallClock(): Promise<void> {
  const names = ['owner', 'name owner', 'supervisor', 'successor'].map(who => `${who}: wall clock ±1 h`);
  const wanted = names.filter(name => isWanted(name, false));
  if (wanted.length === 0) return;
  if (library === null) {
    for (const name of wanted) leftOutHere(name, 'needs libfaketime (Debian: faketime)');
    return;
  }
  const clock = await startWallClock(library);
  try {
    await matrix(
      { env: clock.env },
      combinations(clock).filter(({ what }) => what === 'wall clock ±1 h'),
    );
  } finally {
    await clock.close();
  }
}

/** The first node, its guards included, on a clock of another rate; and then cut from etcd, so that its clock alone decides. */
async function withRate(rate: number): Promise<void> {
  const combination: Combination = {
    who: 'owner',
    what: `clock rate × ${rate}`,
    judged: 'fenced',
    mustBe: 'taken over',
    run: async (world, began) => {
      const owner = await world.ownerOf(TARGET);
      if (owner !== world.nodes[0]) throw new Error('the node with the odd clock owns nothing');
      const { guard } = guardAndProcess(await world.guardPid(TARGET));
      const rates = await ratesOf(owner.url, guard.at(-1)!);
      const right = Object.values(rates).every(each => Math.abs(each - rate) < 0.3 * rate);
      if (!right) throw new Error(`the clocks do not run at that rate: ${JSON.stringify(rates)}`);
      await agentFaults.cutFromEtcd(world, owner, began);
    },
  };
  if (!isWanted(`${combination.who}: ${combination.what}`, false)) return;
  if (library === null || !isRoot) {
    leftOutHere(`${combination.who}: ${combination.what}`, 'needs root and libfaketime (Debian: faketime)');
    return;
  }
  for (let cycle = 0; cycle < cycles; cycle++) {
    const clock = await startOddClock(library, rate);
    try {
      await matrix({ first: () => clock.command }, [combination]);
    } finally {
      await clock.close();
    }
  }
}

async function guards(): Promise<void> {
  const wanted = Object.entries(failings).filter(([what]) =>
    isWanted(`guard: ${what}`, what.includes('wedged') || what.includes('crash')),
  );
  if (wanted.length === 0) return;
  print([
    'guard: what',
    '',
    'cycles',
    'overlaps',
    'gap ms',
    'handovers',
    'before key',
    'takeover ms',
    '',
    '',
  ]);
  let world: World | null = null;
  try {
    for (const [what, failing] of wanted) {
      const rows: GuardRow[] = [];
      for (let cycle = 0; cycle < (quick ? 1 : Math.max(cycles, 3)); cycle++) {
        let row: GuardRow;
        try {
          world ??= await World.start({ etcdMembers: 1, web: false });
          row = await guardCycle(world, what, failing);
        } catch (error) {
          row = brokenGuardRow(what, error);
        }
        rows.push(row);
        if (row.trouble.length === 0 || world === null) continue;
        await told(world);
        await stopped(world);
        world = null;
      }
      await reportGuard(allCycles(rows));
    }
  } finally {
    if (world) await stopped(world);
  }
}

async function leaderPauses(): Promise<void> {
  const name = 'etcd leader: paused until it revokes healthy leases';
  if (!isWanted(name, false)) return;
  const seen = await pauseLeaders(MOST_PAUSES, ({ revoking }) => revoking >= cycles).catch(
    (error: unknown): LeaderPauses => ({
      ...noPauses(),
      trouble: [`it broke off: ${(error as Error).message}`],
    }),
  );
  say(
    `${name}: ${seen.revoked} of 10 healthy leases in ${seen.revoking} of ${seen.pauses} pauses; ` +
      `the last to learn of it did so ${Math.round(seen.longestStillValidMs)} ms later`,
  );
  totals.cycles += seen.pauses;
  const trouble = seen.revoking > 0 ? seen.trouble : [...seen.trouble, 'it was never seen to happen'];
  await verdict({ ...seen, trouble });
}

/** Plans of a thousand steps, with something broken in the middle of each. */
async function plans(): Promise<void> {
  const wanted = Object.entries(planFaults).filter(([what, fault]) =>
    isWanted(`plans: ${what}`, fault.quick === true),
  );
  if (wanted.length === 0) return;
  print(['plans: what', '', 'cycles', 'steps', 'done twice', 'repeated', 'late', 'stale', 'longest s']);
  let world: PlanWorld | null = null;
  try {
    for (const [what, fault] of wanted) {
      const rows: PlanRow[] = [];
      for (let tries = 0; tries < Math.max(cycles, MOST_TRIES); tries++) {
        const failed = rows.some(({ trouble }) => trouble.length > 0);
        if (tries >= cycles && (failed || notShown(rows) === null)) break;
        try {
          world ??= await PlanWorld.start();
          rows.push(await world.cycle(what, fault));
        } catch (error) {
          rows.push(brokenPlanRow(what, error));
        }
        if (rows.at(-1)?.trouble.length === 0) continue;
        await world?.stop();
        world = null;
      }
      const row = allOf(rows);
      const { cycles: times, steps, repeated, late, refused, longestSeconds } = row;
      const twice = row.trouble.length === 0 ? 0 : '?';
      print([`plans: ${what}`, '', times, steps, twice, repeated, late, refused, Math.round(longestSeconds)]);
      totals.cycles += times;
      totals.stale += late + refused;
      await verdict(row);
    }
  } finally {
    await world?.stop();
  }
}

async function report(combination: Combination, row: Row): Promise<void> {
  const trouble = [
    ...row.trouble,
    ...(shown(combination, row)
      ? []
      : [`no ${combination.mustShow ?? ''} in ${row.cycles} cycles: nothing is proved`]),
  ];
  print([
    `${row.who}: ${row.what}`,
    combination.judged,
    row.cycles,
    row.overlaps,
    rounded(row.smallestGapMs),
    row.staleAttempts,
    rounded(row.takeoverMs),
    row.acknowledged,
    row.nameGrants,
    row.nameOperations,
    row.nameStaleAttempts,
    row.healthyRevoked,
    Math.round(row.seconds),
  ]);
  totals.cycles += row.cycles;
  totals.stale += row.staleAttempts + row.nameStaleAttempts;
  if (combination.judged === 'everything') totals.overlaps += row.overlaps;
  if (row.staleReads > 0) say('  # reads of etcd were stale after its pause: a known defect of its version');
  await verdict({ ...row, judged: combination.judged, trouble });
}

async function reportGuard(row: GuardRow): Promise<void> {
  print([
    row.what,
    '',
    row.cycles,
    row.overlaps,
    rounded(row.smallestGapMs),
    row.handovers,
    rounded(row.leastBeforeKeyMs),
    rounded(row.longestTakeoverMs),
    '',
    '',
  ]);
  totals.cycles += row.cycles;
  totals.overlaps += row.overlaps;
  const shownAny = row.handovers > 0 ? [] : ['nothing changed hands: nothing is proved'];
  await verdict({ ...row, trouble: [...row.trouble, ...shownAny] });
}

async function verdict(
  row: (Row & Pick<Combination, 'judged'>) | GuardRow | LeaderPauses | PlanRow,
): Promise<void> {
  totals[row.trouble.length === 0 ? 'passed' : 'failed']++;
  for (const each of row.trouble) say(`  not ok: ${each}`);
  await appendFile(file, `${JSON.stringify(row)}\n`);
}

/** One that can't be ended is a failure, too, and what comes after it is tried all the same. */
async function stopped(world: World): Promise<void> {
  try {
    await world.stop();
  } catch (error) {
    totals.failed++;
    say(`not ok: a world could not be ended: ${(error as Error).message}`);
  }
}

/** What the agents said last, for whoever has to find out what went wrong. */
async function told(world: World): Promise<void> {
  for (const node of world.nodes) {
    await appendFile(
      `${file}.log`,
      `${new Date().toISOString()} ${node.name}\n${await node.lastOutput(400)}\n`,
    );
  }
}

function leftOutHere(name: string, why: string): void {
  totals.leftOut++;
  say(`left out - ${name}: ${why}`);
}

function rounded(number: number | null): string {
  return number === null ? '-' : String(Math.round(number));
}

function print(cells: (string | number)[]): void {
  const [name, ...rest] = cells.map(String);
  say(`${name!.padEnd(38)} ${rest.map(cell => cell.padStart(11)).join(' ')}`);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
