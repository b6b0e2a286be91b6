import { execFile } from 'node:child_process';

import { DriverError } from '../ports/driver.ts';

/** A tool of systemd's that said no. The message is what it said. */
export class ToolError extends DriverError {
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, { retryable: true, ...options });
    this.name = 'ToolError';
  }
}

export type UnitProperties = Readonly<Record<string, string>>;

const TIMEOUT_MS = 30_000;
/** A walk through many files takes its time. */
const OUTSIDE_TIMEOUT_MS = 10 * 60_000;
const LARGEST_OUTPUT_BYTES = 16 * 1024 * 1024;
/** What the tools add to what they have to say. */
const ASIDE = /^(Running (as unit|timer as unit|unit|as)\b|See )/;
const MANAGER = 'org.freedesktop.systemd1';

/** @throws ToolError with what the tool said last */
export function runTool(
  file: string,
  args: readonly string[],
  { timeoutMs = TIMEOUT_MS, signal }: { timeoutMs?: number; signal?: AbortSignal } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = {
      // Not of the agent's own: nothing in it changes what the tools do or say.
      env: {
        PATH: '/usr/bin:/bin:/usr/sbin:/sbin',
        LC_ALL: 'C.UTF-8',
        SYSTEMD_COLORS: '0',
        SYSTEMD_PAGER: '',
      },
      timeout: timeoutMs,
      maxBuffer: LARGEST_OUTPUT_BYTES,
      ...(signal === undefined ? {} : { signal }),
    };
    execFile(file, args, options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else {
        const said = stderr
          .split('\n')
          .filter(line => line !== '' && !ASIDE.test(line))
          .at(-1);
        reject(new ToolError(said ?? `${file} ended with ${error.code ?? error.signal}`, { cause: error }));
      }
    });
  });
}

/** Starts a transient unit and waits for its start, which `Type=exec` has when the command runs. @throws ToolError */
export async function runUnit(
  unit: string,
  parts: { properties: readonly string[]; flags?: readonly string[]; command: readonly string[] },
): Promise<void> {
  const { properties, flags = [], command } = parts;
  // Not `--quiet`: then it does not tell why either.
  await runTool('systemd-run', [
    `--unit=${unit}`,
    ...flags,
    ...properties.map(property => `--property=${property}`),
    '--',
    ...command.map(literal),
  ]);
}

/**
 * Runs a command as root and outside the sandbox that the agent's own unit may be in, and waits for its end. Returns what it
 * printed. @throws ToolError
 */
export function runOutside(command: readonly string[], properties: readonly string[] = []): Promise<string> {
  const args = [
    ...['--quiet', '--collect', '--wait', '--pipe'],
    ...properties.map(property => `--property=${property}`),
    '--',
    ...command.map(literal),
  ];
  return runTool('systemd-run', args, { timeoutMs: OUTSIDE_TIMEOUT_MS });
}

/** The properties of each unit, in the order of the units; one that is not known has `LoadState=not-found`. @throws ToolError */
export async function showUnits(
  units: readonly string[],
  properties: readonly string[],
): Promise<UnitProperties[]> {
  if (units.length === 0) return [];
  const blocks = (await runTool('systemctl', ['show', `--property=${properties.join(',')}`, '--', ...units]))
    .trimEnd()
    .split('\n\n');
  if (blocks.length !== units.length) {
    throw new ToolError('systemctl did not tell of every unit');
  }
  return blocks.map(propertiesIn);
}

/** Names of the units that systemd knows, in whatever state. @throws ToolError */
export async function listUnits(pattern: string): Promise<string[]> {
  const text = await runTool('systemctl', [
    'list-units',
    '--all',
    '--plain',
    '--no-legend',
    '--full',
    '--',
    pattern,
  ]);
  return text
    .split('\n')
    .map(line => line.trim().split(/\s+/)[0] ?? '')
    .filter(name => name !== '');
}

/** One number of a unit, exactly. @throws ToolError */
export async function numberOf(unit: string, kind: 'Timer', property: string): Promise<bigint> {
  const path = `/org/freedesktop/systemd1/unit/${busName(unit)}`;
  const text = await runTool('busctl', ['get-property', MANAGER, path, `${MANAGER}.${kind}`, property]);
  return BigInt(text.trim().split(' ')[1] ?? '');
}

/** Stops the units and drops what systemd remembers of them; for what is not there there is nothing to do. */
export async function dropUnits(units: readonly string[]): Promise<void> {
  for (const verb of ['stop', 'reset-failed']) {
    await runTool('systemctl', [verb, '--', ...units]).catch(unlessUnknown);
  }
}

/** The value as a word of a list of paths. */
export function quotedPath(path: string): string {
  return `"${path.replaceAll(/["\\]/g, '\\$&').replaceAll(':', '\\:')}"`;
}

function unlessUnknown(error: unknown): void {
  if (error instanceof ToolError && / not loaded/.test(error.message)) return;
  throw error;
}

export function propertiesIn(block: string): UnitProperties {
  return Object.fromEntries(
    block.split('\n').flatMap(line => {
      const at = line.indexOf('=');
      return at < 0 ? [] : [[line.slice(0, at), line.slice(at + 1)]];
    }),
  );
}

/** Against the replacing of variables in the words of a command. */
function literal(word: string): string {
  return word.replaceAll('$', '$$$$');
}

/** A unit's name in the path of its object. */
function busName(unit: string): string {
  return [...Buffer.from(unit)]
    .map((byte, index) => {
      const letter = String.fromCharCode(byte);
      const plain = index === 0 ? /[A-Za-z]/ : /[A-Za-z0-9]/;
      return plain.test(letter) ? letter : `_${byte.toString(16).padStart(2, '0')}`;
    })
    .join('');
}
