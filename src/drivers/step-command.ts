import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Limits } from '../model/app-spec.ts';
import type { PlanProblem, StepResult, StepWork } from '../model/plan.ts';
import type { Blobs } from '../ports/blobs.ts';
import type { Clock } from '../ports/clock.ts';
import type { AppPlace, AppPlaces, StepAgent, StepTask } from '../ports/step-agents.ts';
import { checkArguments, wholeNumber, type ArgumentRules } from './step-arguments.ts';
import { FatalFailure } from './step-failure.ts';
import { bytesOf } from './step-inputs.ts';
import { outputOf } from './step-output.ts';
import type { StepExit, StepProcesses } from './step-processes.ts';

const ENVIRONMENT = /^env\.(.+)$/s;
const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Wrong use, wrong data, no permission, wrong configuration (sysexits.h); not executable, not found (the shell). */
const IN_VAIN = [64, 65, 77, 78, 126, 127];
/** What forks without end is stopped by this, where control groups can be had. */
const MOST_PROCESSES = 1000;

const RULES: ArgumentRules = {
  app: value => (/^[a-z][a-z0-9-]{1,61}[a-z0-9]$/.test(value) ? null : 'the name of an app'),
  memory: value => (bytesIn(value) === null ? 'as in 256M' : null),
  cpu: value => (/^\d+(\.\d+)?$/.test(value) && Number(value) > 0 ? null : 'cores, as in 0.5'),
  processes: wholeNumber(1, 100_000),
  'expect-code': codes,
  'retry-code': codes,
};

export interface CommandAgentOptions {
  /** `apps` = only with an app whose place it runs in. */
  commands: 'apps' | 'all';
  /** Absolute, and there; each attempt has a directory of its own in it for as long as it runs. */
  directory: string;
  user: string;
  processes: StepProcesses;
  apps: AppPlaces;
  blobs: Blobs;
  clock: Clock;
}

/**
 * Runs a command by the shell, and gives what it writes to its standard output. The payload is its standard input, byte for
 * byte; outputs of steps before are files. Nothing that others gave becomes a part of the command. It is dead when its time is
 * over, when it was told to stop, and when its agent is gone.
 */
export function commandAgent(options: CommandAgentOptions): StepAgent {
  const { processes, blobs, clock, directory } = options;
  const { enforceable } = processes;

  return { name: 'command', check, isForOthers, run };

  function check(work: StepWork): PlanProblem[] {
    const given = Object.entries(work.arguments ?? {});
    const others = Object.fromEntries(given.filter(([name]) => !ENVIRONMENT.test(name)));
    const problems = checkArguments({ ...work, arguments: others }, RULES);
    for (const [name, value] of given) {
      const variable = ENVIRONMENT.exec(name)?.[1];
      if (variable === undefined) continue;
      if (
        !/^[A-Za-z_][A-Za-z0-9_]*$/.test(variable) ||
        variable.startsWith('HOP3_') ||
        value.includes('\0')
      ) {
        const hint = 'letters, digits and underscores, not beginning with HOP3_';
        problems.push({ field: `arguments.${name}`, message: 'is no variable that can be set', hint });
      }
    }
    if (work.resource.trim() === '' || work.resource.includes('\0')) {
      problems.push({ field: 'resource', message: 'is no command', hint: 'as in ./report.sh --all' });
    }
    return [...problems, ...refusals(work)];
  }

  function refusals({ arguments: given = {} }: StepWork): PlanProblem[] {
    if (options.commands === 'apps' && given['app'] === undefined) {
      const hint = 'arguments.app; or plans.commands: all in the configuration of the nodes';
      return [{ field: 'agent', message: 'nodes here run commands of apps only', hint }];
    }
    return (['memory', 'cpu'] as const).flatMap(name =>
      given[name] === undefined || enforceable[name]
        ? []
        : [
            {
              field: `arguments.${name}`,
              message: "this node can't enforce it",
              hint: 'run the agent as root',
            },
          ],
    );
  }

  function isForOthers({ arguments: given = {} }: StepWork): boolean {
    return given['app'] !== undefined && options.apps.isForOthers(given['app']);
  }

  async function run(task: StepTask, signal: AbortSignal): Promise<StepResult> {
    const untilMs = clock.now() + task.remainingMs;
    // Asked again: another node may have accepted what this one does not.
    const [problem] = check(task.work);
    if (problem !== undefined) throw new FatalFailure(`${problem.field}: ${problem.message}`);
    const app = task.work.arguments?.['app'];
    const place = app === undefined ? null : await options.apps.enter(app, signal);
    try {
      const own = await mkdtemp(join(directory, 'attempt-'));
      try {
        return await attempt(task, own, place, { untilMs, signal });
      } finally {
        await removeStepFiles(own);
      }
    } finally {
      place?.leave();
    }
  }

  async function attempt(
    task: StepTask,
    own: string,
    place: AppPlace | null,
    until: { untilMs: number; signal: AbortSignal },
  ): Promise<StepResult> {
    const inputs = join(own, 'inputs');
    await mkdir(inputs);
    for (const [index, output] of task.inputs) {
      await writeFile(join(inputs, String(index)), await bytesOf(output, blobs, until.signal));
    }
    // Its name can't be guessed, and what is in it may be for another user.
    await chmod(own, 0o777);
    if (until.signal.aborted) return { kind: 'stopped' };
    const exit = await processes.run(
      {
        name: own.slice(directory.length + 1),
        command: task.work.resource,
        directory: place?.directory ?? own,
        env: {
          ...environmentOf(own, options.user),
          ...place?.env,
          ...ownVariables(task.work),
          ...tokens(task),
        },
        stdin: task.payload?.bytes ?? null,
        user: place?.user ?? null,
        limits: limitsOf(task.work, place),
      },
      until,
    );
    return resultOf(exit, task.work);
  }

  function tokens(task: StepTask): Record<string, string> {
    return {
      HOP3_FENCING_TOKEN: task.token,
      HOP3_IDEMPOTENCY_KEY: task.idempotencyKey,
      HOP3_PLAN: task.plan,
      HOP3_STEP: String(task.index),
      HOP3_ATTEMPT: String(task.attempt),
      HOP3_REMAINING_MS: String(Math.round(task.remainingMs)),
      HOP3_NODE: task.node,
    };
  }

  function limitsOf({ arguments: given = {} }: StepWork, place: AppPlace | null): Limits {
    const { memory, cpu, processes: most } = given;
    return {
      memoryBytes: memory === undefined ? (place?.limits.memoryBytes ?? null) : bytesIn(memory),
      cpu: cpu === undefined ? (place?.limits.cpu ?? null) : Number(cpu),
      processes: most === undefined ? (place?.limits.processes ?? usualProcesses()) : Number(most),
    };
  }

  function usualProcesses(): number | null {
    return enforceable.processes ? MOST_PROCESSES : null;
  }

  async function resultOf(exit: StepExit, work: StepWork): Promise<StepResult> {
    if (exit.why === 'told') return { kind: 'stopped' };
    const said = exit.stderr.replace(/\p{C}+/gu, ' ').trim();
    const failed = (type: 'RETRYABLE' | 'FATAL', what: string): StepResult => {
      return { kind: 'failed', type, error: said === '' ? what : `${what}: ${said}` };
    };
    if (exit.why === 'time') return failed('RETRYABLE', 'its time was over, and it was ended');
    if (exit.outOfMemory) return failed('RETRYABLE', 'out of memory: the kernel killed it at its limit');
    if (exit.signal !== null) return failed('RETRYABLE', `it was ended by ${exit.signal}`);
    const code = exit.code ?? 0;
    const given = work.arguments ?? {};
    if ((given['expect-code'] ?? '0').split(',').map(Number).includes(code)) {
      return {
        kind: 'completed',
        output: await outputOf({ mimeType: mimeTypeOf(exit.stdout), bytes: exit.stdout }, blobs),
      };
    }
    const retried = given['retry-code']?.split(',').map(Number).includes(code) ?? !IN_VAIN.includes(code);
    return failed(retried ? 'RETRYABLE' : 'FATAL', `it ended with code ${code}`);
  }
}

/**
 * Removes a directory of steps. Something that a command left may still write there, where nothing holds it but its session: then
 * it stays until the next agent, and neither the step nor that agent fails for it.
 */
export async function removeStepFiles(directory: string): Promise<void> {
  try {
    await rm(directory, { recursive: true, force: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOTEMPTY') throw error;
  }
}

function environmentOf(own: string, user: string): Record<string, string> {
  return {
    PATH: SYSTEM_PATH,
    LANG: 'C.UTF-8',
    USER: user,
    HOME: own,
    TMPDIR: own,
    HOP3_INPUTS: join(own, 'inputs'),
  };
}

function ownVariables({ arguments: given = {} }: StepWork): Record<string, string> {
  return Object.fromEntries(
    Object.entries(given).flatMap(([name, value]) => {
      const variable = ENVIRONMENT.exec(name)?.[1];
      return variable === undefined ? [] : [[variable, value]];
    }),
  );
}

/** A program that prints JSON means it. */
function mimeTypeOf(stdout: Uint8Array): string {
  return /^\s*[[{]/.test(Buffer.from(stdout.subarray(0, 64)).toString('latin1'))
    ? 'application/json'
    : 'text/plain';
}

function codes(value: string): string | null {
  const right = value.split(',').every(code => /^\s*\d{1,3}\s*$/.test(code) && Number(code) <= 255);
  return right ? null : 'exit codes, as in 1, 75';
}

function bytesIn(text: string): number | null {
  const [, digits, unit = ''] = /^(\d{1,12})([KMG]?)$/.exec(text) ?? [];
  if (digits === undefined || Number(digits) === 0) return null;
  return Number(digits) * ({ '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 }[unit] ?? 1);
}
