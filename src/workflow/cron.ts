import { DAY_MS } from '../model/civil.ts';
import { readCron, type CronFields } from '../model/cron-expression.ts';
import type { CatchUp, CronSchedule, PlanProblem } from '../model/plan.ts';
import { isTimeZone, zoneClock } from '../model/time-zone.ts';

/**
 * The moments at which a schedule fires after `afterMs`, up to and with `untilMs`: Unix times, ascending, at most `atMost`, the
 * first ones. A local time that doesn't exist (the clock goes forward) fires once, at the first moment that does; one that
 * exists twice (it goes back) fires at its first.
 * @throws RangeError when the expression can't be read, or the time zone is unknown: `checkCron` tells before
 */
export function nextFirings(
  schedule: string,
  timeZone: string,
  afterMs: number,
  untilMs: number,
  atMost = Infinity,
): number[] {
  return take(firings(schedule, timeZone, afterMs, untilMs, 1), atMost);
}

/** Likewise the last ones, ascending. */
export function lastFirings(
  schedule: string,
  timeZone: string,
  afterMs: number,
  untilMs: number,
  atMost: number,
): number[] {
  return take(firings(schedule, timeZone, afterMs, untilMs, -1), atMost).reverse();
}

/** Everything wrong with a schedule; empty = nothing. */
export function checkCron(schedule: CronSchedule): PlanProblem[] {
  const problems: PlanProblem[] = [];
  const reading = readCron(schedule.expression);
  if (!reading.ok) problems.push({ field: 'expression', message: reading.message, hint: reading.hint });
  if (!isTimeZone(schedule.timeZone)) {
    const message = `there is no time zone "${schedule.timeZone}"`;
    problems.push({ field: 'timeZone', message, hint: 'an IANA name, as in Europe/Berlin or UTC' });
  }
  const { catchUp } = schedule;
  if (
    catchUp.kind === 'all' &&
    !(Number.isInteger(catchUp.atMost) && catchUp.atMost >= 1 && catchUp.atMost <= 100)
  ) {
    const message = `must be a whole number from 1 to 100, not ${catchUp.atMost}`;
    problems.push({ field: 'catchUp.atMost', message, hint: null });
  }
  return problems;
}

/**
 * Which firings are to be made now, the oldest first, when all up to `lastMs` have been dealt with. One that is not older than
 * `punctualMs` is on time, and made in any case; of those missed, what the policy says. `upToMs` is what has been dealt
 * with then: written with the plans that are made, in one transaction, it lets no other node make them again.
 */
export function dueFirings(
  schedule: Pick<CronSchedule, 'expression' | 'timeZone' | 'catchUp'>,
  lastMs: number,
  nowMs: number,
  punctualMs: number,
): { fire: number[]; upToMs: number } {
  const { expression, timeZone, catchUp } = schedule;
  const onTimeSince = Math.max(lastMs, nowMs - punctualMs - 1);
  const onTime = nextFirings(expression, timeZone, onTimeSince, nowMs);
  const missed = missedCount(catchUp, onTime.length);
  const late = lastFirings(expression, timeZone, lastMs, onTimeSince, missed);
  return { fire: [...late, ...onTime], upToMs: Math.max(lastMs, nowMs) };
}

/** What a firing does while plans of the same schedule have not ended. */
export function atOverlap(
  overlap: CronSchedule['overlap'],
  running: readonly string[],
): { start: boolean; cancel: string[]; reason: string } {
  if (running.length === 0) return { start: true, cancel: [], reason: 'it is time' };
  const still = `${running.join(', ')} of this schedule ${running.length === 1 ? 'has' : 'have'} not ended`;
  switch (overlap) {
    case 'allow':
      return { start: true, cancel: [], reason: `it is time; ${still}, which is allowed` };
    case 'forbid':
      return { start: false, cancel: [], reason: `left out: ${still}` };
    case 'replace':
      return { start: true, cancel: [...running], reason: `it is time; ${still}, and is replaced` };
  }
}

/** The idempotency key of a firing's plan: whichever nodes make it, it is made once. */
export function firingKey(schedule: string, firingMs: number): string {
  return `cron/${schedule}/${firingMs}`;
}

/** How many of the missed firings are made up for; the latest policy is content with one on time. */
function missedCount(catchUp: CatchUp, onTime: number): number {
  switch (catchUp.kind) {
    case 'none':
      return 0;
    case 'latest':
      return onTime > 0 ? 0 : 1;
    case 'all':
      return Math.max(0, catchUp.atMost - onTime);
  }
}

/** Day by day on the wall clock, in the direction of time or against it. */
function* firings(
  schedule: string,
  timeZone: string,
  afterMs: number,
  untilMs: number,
  direction: 1 | -1,
): Generator<number> {
  const fields = fieldsOf(schedule);
  if (afterMs >= untilMs) return;
  const clock = zoneClock(timeZone);
  // What a change of the clock leaves out of a day may fire on the next.
  const first = Math.floor(clock.localAt(afterMs) / DAY_MS) - 2;
  const last = Math.floor(clock.localAt(untilMs) / DAY_MS) + 1;
  let previous: number | null = null;
  for (let step = 0; step <= last - first; step++) {
    const day = direction === 1 ? first + step : last - step;
    if (!fields.runsOn(day)) continue;
    const moments = clock.momentsOf(day, fields.times).sort((a, b) => direction * (a - b));
    for (const moment of moments) {
      const isNew: boolean = previous === null || direction * (moment - previous) > 0;
      if (!isNew || moment <= afterMs || moment > untilMs) continue;
      previous = moment;
      yield moment;
    }
  }
}

function fieldsOf(schedule: string): CronFields {
  const reading = readCron(schedule);
  if (!reading.ok) throw new RangeError(`"${schedule}" ${reading.message}`);
  return reading.fields;
}

function take(all: Iterable<number>, atMost: number): number[] {
  const taken: number[] = [];
  if (atMost <= 0) return taken;
  for (const moment of all) {
    taken.push(moment);
    if (taken.length >= atMost) break;
  }
  return taken;
}
