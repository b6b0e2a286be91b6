import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';

import type { ProcessDriver, ProcessDriverOptions } from '../../src/drivers/process-driver.ts';
import { processDriver } from '../../src/drivers/process-driver.ts';
import { systemdDriver, type SystemdDriver } from '../../src/drivers/systemd-driver.ts';
import { systemClock } from '../../src/platform/clock.ts';
import type { Driver, DriverUnit, Launch, OutputLine } from '../../src/ports/driver.ts';
import { FakeLog } from '../support/fake-log.ts';
import { processSpec } from '../support/nouns.ts';
import { until } from '../support/until.ts';

export const clock = systemClock();

export function temporaryDirectory(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'hop3-drivers-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }));
  return directory;
}

export function launch(parts: Partial<Launch> & { command?: string } = {}): Launch {
  const { command = 'sleep 300', ...rest } = parts;
  return {
    unit: 'blog-web-0-a',
    instance: 'blog/web/0',
    release: 1,
    version: '1',
    process: processSpec({ command }),
    directory: tmpdir(),
    env: { PATH: process.env['PATH'] ?? '' },
    endpoint: null,
    limits: { memoryBytes: null, cpu: null, processes: null },
    ...rest,
  };
}

/** A driver whose processes, and those of every driver made on the same directory, end with the test. */
export function processDriverIn(
  t: ExecutionContext,
  stateDir: string,
  parts: Partial<ProcessDriverOptions> = {},
): ProcessDriver & { log: FakeLog } {
  const log = new FakeLog();
  const driver = processDriver({ stateDir, clock, log, ...parts });
  t.teardown(async () => {
    await driver.close();
    // One made anew knows what is left, whoever started it.
    const last = processDriver({ stateDir, clock, log });
    for (const { unit } of await last.observe()) await last.stop(unit, 0);
    await last.close();
  });
  return { ...driver, log };
}

/** Only where systemd is process 1, as `HOP3_TEST_SYSTEMD` says it is. As `processDriverIn`. */
export function systemdDriverIn(t: ExecutionContext, stateDir: string): SystemdDriver & { log: FakeLog } {
  const log = new FakeLog();
  const driver = systemdDriver({ stateDir, clock, log });
  t.teardown(async () => {
    await driver.close();
    const last = systemdDriver({ stateDir, clock, log });
    for (const { unit } of await last.observe()) {
      await last.stop(unit, 0);
      await last.forget(unit);
    }
    await last.guard.disarm();
    await last.close();
  });
  return { ...driver, log };
}

export async function unitOf(driver: Driver, unit: string): Promise<DriverUnit | undefined> {
  return (await driver.observe()).find(found => found.unit === unit);
}

export function exitOf(driver: Driver, unit: string): Promise<NonNullable<DriverUnit['exit']>> {
  return until(`${unit} has ended`, async () => (await unitOf(driver, unit))?.exit);
}

export async function collect(output: AsyncIterable<OutputLine>): Promise<OutputLine[]> {
  const lines: OutputLine[] = [];
  for await (const line of output) lines.push(line);
  return lines;
}

/** The newest lines there are now. */
export function linesOf(driver: Driver, instance: string, lines = 100): Promise<OutputLine[]> {
  return collect(driver.output(instance, { lines, follow: false, signal: new AbortController().signal }));
}

export function textsOf(lines: OutputLine[]): string[] {
  return lines.map(({ text }) => text);
}

/** What Node warns of from now on until the test ends: of listeners that nobody takes away, it supposes. */
export function warningsIn(t: ExecutionContext): Error[] {
  const warnings: Error[] = [];
  const warned = (warning: Error): void => {
    if (warning.name === 'MaxListenersExceededWarning') warnings.push(warning);
  };
  process.on('warning', warned);
  t.teardown(() => process.off('warning', warned));
  return warnings;
}

/** Starts a dozen copies, and stops them while each has something left that takes all of its grace. */
export async function stopADozen(driver: Driver): Promise<void> {
  const command = `(trap '' TERM; exec sleep 300) & exec sleep 300`;
  const units = Array.from({ length: 12 }, (_, index) => `blog-web-${index}`);
  await Promise.all(units.map(unit => driver.start(launch({ unit, command }))));
  await Promise.all(units.map(unit => driver.stop(unit, 1)));
}

/** Living processes that have this text in their command line or environment. */
export function processesWith(text: string): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter(pid => Number.isInteger(pid) && pid !== process.pid)
    .filter(pid => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
        if (/^[ZX]$/.test(stat.slice(stat.lastIndexOf(')') + 2).charAt(0))) return false;
        return (
          readFileSync(`/proc/${pid}/environ`, 'utf8').includes(text) ||
          readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(text)
        );
      } catch {
        return false;
      }
    });
}
