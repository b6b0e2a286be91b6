import type { FixedPort, Limits, ProcessSpec } from '../model/app-spec.ts';
import type { InstanceId, Token } from '../model/ids.ts';
import type { Endpoint } from '../model/node-promise.ts';
import type { UnitExit } from '../model/reconciliation.ts';

/** Everything needed to start one copy of one instance; nothing left to look up. */
export interface Launch {
  unit: string;
  instance: InstanceId;
  release: number;
  version: string;
  process: ProcessSpec;
  /** Absolute; the unpacked artifact (for `static`: the directory to serve). */
  directory: string;
  /** The whole environment; nothing of the agent's own leaks in. */
  env: Record<string, string>;
  /** Where it listens; null for processes that are not routed. */
  endpoint: Endpoint | null;
  /** The fixed ports that it has; absent = none. */
  ports?: readonly FixedPort[];
  limits: Limits;
  /** The fencing token it is started under; null = nothing is fenced. */
  token?: Token | null;
  /** Exclusive: it must be dead when the guard's deadline has passed, whatever becomes of the agent. */
  guarded?: boolean;
  /**
   * The app's own directories, absolute, which its processes may write to. A driver that runs apps as users of their own
   * makes what is in them theirs.
   */
  own?: string[];
}

/** A copy the driver knows, running or ended and not yet forgotten. */
export interface DriverUnit {
  unit: string;
  instance: InstanceId;
  release: number;
  version: string;
  /** null for static. */
  pid: number | null;
  endpoint: Endpoint | null;
  /** null while it lives. */
  exit: UnitExit | null;
  /** Whether it was started under the guard. */
  guarded?: boolean;
}

/**
 * Starts, observes and stops copies of instances. They outlive the agent: a driver made anew on the same state
 * directory knows them all again, by pid + start time + boot id.
 */
export interface Driver {
  /**
   * Resolves once the process exists. Adds to its environment `HOP3_FENCING_TOKEN_FILE`, a file that holds the token, and
   * `HOP3_FENCING_TOKEN` for a guarded one, whose token never changes. @throws DriverError when it cannot be started (no
   * such directory, a limit that cannot be enforced, guarded while no guard is armed); a command that fails at once is an
   * exit, not an error.
   */
  start(launch: Launch): Promise<DriverUnit>;
  /** All of them. Cheap enough to be called at every round. */
  observe(): Promise<DriverUnit[]>;
  /**
   * SIGTERM to the whole group, SIGKILL to what is left after `graceSeconds`; resolves when the group's death has
   * been confirmed. Stopping what has ended, or is not known, is no error.
   */
  stop(unit: string, graceSeconds: number): Promise<void>;
  /** Puts the token that its owner key has now into the unit's token file. Of a unit that is not known it is no error. */
  fence(unit: string, token: Token): Promise<void>;
  /** Drops the memory of an ended unit; its output stays readable. */
  forget(unit: string): Promise<void>;
  /** Wakes when any unit ended. Returns how to stop listening. */
  onExit(listener: () => void): () => void;
  /** The newest lines of an instance's output over all its copies, oldest first; then, with `follow`, as they come. */
  output(instance: InstanceId, options: OutputOptions): AsyncIterable<OutputLine>;
  /** Leaves everything running, stops own timers and servers. */
  close(): Promise<void>;
}

export interface OutputOptions {
  /** Of the past; not asked for when there is an `after`. */
  lines: number;
  follow: boolean;
  signal: AbortSignal;
  /** A line's cursor: goes on right after that line. What has been thrown away since then is passed over. */
  after?: string;
  /** Told at most once, before the first line, of the cursor that this reading begins at. */
  onStart?: (cursor: string) => void;
}

export interface OutputLine {
  unit: string;
  stream: 'stdout' | 'stderr';
  text: string;
  /** Where in the instance's whole output on this node the line ends: letters, digits and `.-_~` only. Absent = can't be resumed. */
  cursor?: string;
}

export class DriverError extends Error {
  readonly retryable: boolean;
  constructor(message: string, options: { retryable: boolean; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.name = 'DriverError';
    this.retryable = options.retryable;
  }
}
