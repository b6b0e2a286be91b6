import { spawn, type ChildProcess } from 'node:child_process';
import { setMaxListeners } from 'node:events';
import type { Readable, Writable } from 'node:stream';

import type { Limits } from '../model/app-spec.ts';
import type { InstantMs } from '../model/ids.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import {
  cgroups,
  enterGroups,
  groupMembers,
  ranOutOfMemory,
  removeGroups,
  type Enforceable,
} from './cgroups.ts';
import { signalAll } from './process-group.ts';
import { livingMembers, sendSignal } from './proc.ts';
import { NAMESPACE, UNSHARE } from './process-guard.ts';
import { untilGone } from './unit-ending.ts';
import { groupPrefix } from './unit-limits.ts';

export interface StepCommand {
  /** Unique among those that run. */
  name: string;
  /** For the shell. */
  command: string;
  /** Absolute. */
  directory: string;
  env: Record<string, string>;
  stdin: Uint8Array | null;
  /** Whom it runs as; null = the agent's own user. */
  user: string | null;
  limits: Limits;
}

export interface StepExit {
  code: number | null;
  signal: string | null;
  /** Whether its time was over, or it was told to stop, before it had ended. */
  why: 'itself' | 'time' | 'told';
  outOfMemory: boolean;
  /** The end of it when it is longer than what is kept. */
  stdout: Uint8Array;
  stderr: string;
}

export interface StepProcesses {
  readonly enforceable: Enforceable;
  /** Resolves once nothing of it lives. @throws Error when it can't be started, or its limits can't be set */
  run(command: StepCommand, until: { untilMs: InstantMs; signal: AbortSignal }): Promise<StepExit>;
  /** Ends what an agent before this one left. Nothing may be started before. */
  clear(): Promise<void>;
}

const MOST_STDOUT_BYTES = 16 * 1024 * 1024;
const MOST_STDERR_BYTES = 4096;
/** From being asked to end to being killed. Of its time it is a tenth at most, so that its end is not past that. */
const GRACE_MS = 5000;
const POLL_MS = 25;
/** For what is still in its pipes when everything of it is dead. */
const DRAIN_MS = 1000;

/**
 * What becomes the command waits for one line on descriptor 3, which it gets once it is in its control groups. Descriptor 3 is a
 * leash as well: when its other end goes, because the agent has, however it has, all of the group is killed.
 */
const LEASHED = `
read -r go <&3 || exit 125
( trap '' TERM INT HUP; read -r gone <&3; kill -KILL -$$ ) <&3 >/dev/null 2>&1 &
exec 3<&-
exec "$@"
`;

/** Process 1 of a namespace ignores what it does not handle, so the command is its child. */
const SHELL = ['/bin/sh', '-c', '/bin/sh -c "$1"; exit $?', 'hop3'];

/**
 * Runs commands that must not outlive their agent, nor their time: each in a session of its own, in a PID namespace where that can
 * be had, and in control groups where those can. Everything of it is killed with it.
 */
export function stepProcesses(options: {
  /** Of nobody else in the node: control groups are named after it, and what is in them is killed by `clear`. */
  directory: string;
  /** Whether PID namespaces can be had. */
  namespaces: boolean;
  clock: Clock;
  log: Log;
}): StepProcesses {
  const { clock, log, namespaces } = options;
  const groups = cgroups();
  const prefix = groupPrefix(options.directory);
  const asRoot = process.getuid?.() === 0;
  const never = new AbortController().signal;
  // One for each command on its way out.
  setMaxListeners(0, never);

  return {
    enforceable: groups.enforceable,

    async run(command, { untilMs, signal }) {
      const directories = groups.prepare(prefix + encodeURIComponent(command.name), command.limits);
      let child: ChildProcess & { pid: number };
      try {
        child = await started(command);
      } catch (error) {
        removeGroups(directories);
        throw error;
      }
      try {
        return await watched(child, command, directories, { untilMs, signal });
      } finally {
        removeGroups(directories);
      }
    },

    async clear() {
      const left = groups.left(prefix);
      for (let pids = groupMembers(left); pids.length > 0; pids = groupMembers(left)) {
        log.warn('ending commands of steps that an agent before this one left', { pids });
        signalAll(pids, 'SIGKILL');
        await clock.sleep(POLL_MS);
      }
      removeGroups(left);
    },
  };

  async function started(command: StepCommand): Promise<ChildProcess & { pid: number }> {
    const args = ['-c', LEASHED, 'hop3', ...contained(command)];
    const child = spawn('/bin/sh', args, {
      cwd: command.directory,
      env: command.env,
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    });
    const { pid } = child;
    if (pid === undefined) {
      throw await new Promise<Error>(resolve => child.once('error', resolve));
    }
    return Object.assign(child, { pid });
  }

  function contained({ command, user }: StepCommand): string[] {
    const own = asRoot ? NAMESPACE : ['--user', '--map-current-user', ...NAMESPACE];
    const inside = namespaces ? [UNSHARE, ...own] : [];
    const as =
      user === null ? [] : ['/usr/bin/setpriv', `--reuid=${user}`, `--regid=${user}`, '--init-groups'];
    return [...inside, ...as, ...SHELL, command];
  }

  async function watched(
    child: ChildProcess & { pid: number },
    command: StepCommand,
    directories: readonly string[],
    { untilMs, signal }: { untilMs: InstantMs; signal: AbortSignal },
  ): Promise<StepExit> {
    const { pid } = child;
    const [stdin, out, err, leash] = child.stdio as [Writable, Readable, Readable, Writable, unknown];
    const stdout = tailOf(out, MOST_STDOUT_BYTES);
    const stderr = tailOf(err, MOST_STDERR_BYTES);
    // Ended before it has read all: its exit says so.
    for (const stream of [stdin, leash]) stream.on('error', () => undefined);
    const ended = new AbortController();
    let exit: { code: number | null; signal: string | null } | null = null;
    child.once('exit', (code, killedBy) => {
      exit = { code, signal: killedBy };
      ended.abort();
    });
    const closed = new Promise(resolve => child.once('close', resolve));
    let killAtMs = Infinity;
    let why: StepExit['why'] = 'itself';
    try {
      enterGroups(directories, pid);
      leash.write('go\n');
      stdin.end(command.stdin ?? undefined);
    } catch (error) {
      sendSignal(-pid, 'SIGKILL');
      throw error;
    }
    const end = (reason: StepExit['why']): void => {
      if (exit !== null || why !== 'itself') return;
      why = reason;
      killAtMs = Math.min(untilMs, clock.now() + GRACE_MS);
      sendSignal(-pid, 'SIGTERM');
    };
    const graceMs = Math.min(GRACE_MS, (untilMs - clock.now()) / 10);
    const cancel = clock.after(untilMs - graceMs - clock.now(), () => end('time'));
    const onAbort = (): void => end('told');
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
    const ending = {
      unit: command.name,
      // What it leaves behind goes with it.
      killAtMs: () => (exit === null ? killAtMs : 0),
      ended: () => exit !== null,
      members: () => [
        ...new Set([...livingMembers(pid).map(member => member.pid), ...groupMembers(directories)]),
      ],
      wake: ended.signal,
    };
    await untilGone(ending, { clock, log, closing: never });
    cancel();
    signal.removeEventListener('abort', onAbort);
    leash.destroy();
    await Promise.race([closed, clock.sleep(DRAIN_MS)]);
    for (const stream of [out, err]) stream.destroy();
    const { code, signal: killedBy } = exitOf(exit);
    const outOfMemory = ranOutOfMemory(directories);
    const text = Buffer.from(stderr()).toString('utf8');
    return { code, signal: killedBy, why, outOfMemory, stdout: stdout(), stderr: text };
  }
}

/** Read afresh: the compiler takes it for what it was at first. */
function exitOf(exit: { code: number | null; signal: string | null } | null): {
  code: number | null;
  signal: string | null;
} {
  return exit ?? { code: null, signal: null };
}

/** Reads all of it, and keeps the end. */
function tailOf(stream: Readable, mostBytes: number): () => Uint8Array {
  let chunks: Buffer[] = [];
  let bytes = 0;
  stream.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    bytes += chunk.length;
    // Now and then, so that a long output is not copied for each of its chunks.
    if (bytes > 2 * mostBytes) {
      chunks = [Buffer.concat(chunks).subarray(-mostBytes)];
      bytes = mostBytes;
    }
  });
  stream.on('error', () => undefined);
  return () => Buffer.concat(chunks).subarray(-mostBytes);
}
