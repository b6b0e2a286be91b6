import { constants } from 'node:os';
import { ApiError, ApiUnreachable, type ApiClient } from '../../api/client.ts';
import { AGENT_NAME, type CommandProgress, type CommandRequest } from '../../model/named-agents.ts';
import type { CommandContext } from '../context.ts';
import { CliFailure, EXIT, usageFailure } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import { INTERRUPTED } from '../io.ts';

const RETRY_MS = 500;
/** An agent that is replaced is back by then. */
const BACK_WITHIN_MS = 60_000;
const SHELL_SIGNAL_BASE = 128;

/** Runs a command on the agent's machine for as long as its name is owned, as if it ran here. */
export async function own(context: CommandContext, call: Invocation): Promise<number> {
  const { api, io } = context;
  const name = call.argument(0);
  const request = requestOf(context, call);
  if (!AGENT_NAME.test(name)) {
    throw usageFailure(
      `"${name}" cannot be a name`,
      '1 to 63 lower-case letters, digits, dots, hyphens and underscores, as in nightly-report',
    );
  }
  const line = new CommandLine(context, await api(), name, request);
  const unlisten = io.onInterrupt(times => line.interrupted(times));
  const closed = (): void => line.interrupted(1);
  io.signal.addEventListener('abort', closed, { once: true });
  try {
    return await line.run();
  } finally {
    unlisten();
    io.signal.removeEventListener('abort', closed);
  }
}

function requestOf({ io }: CommandContext, call: Invocation): CommandRequest {
  const command = call.argumentsFrom(1);
  const env = Object.entries(io.env).flatMap(([key, value]): [string, string][] =>
    value === undefined ? [] : [[key, value]],
  );
  return {
    id: `${process.pid}-${crypto.randomUUID().slice(0, 8)}`,
    command,
    directory: io.cwd,
    env: Object.fromEntries(env),
    wait: call.flag('wait'),
    timeoutSeconds: call.number('timeout'),
    stopTimeoutSeconds: call.number('stopTimeout') ?? 2,
  };
}

/** One command and this end of it. */
class CommandLine {
  readonly #context: CommandContext;
  readonly #client: ApiClient;
  readonly #name: string;
  readonly #request: CommandRequest;
  readonly #leaving = new AbortController();
  #phase: 'asked' | 'waiting' | 'started' = 'asked';
  #cursor: string | null = null;
  #heardMs: number;

  constructor(context: CommandContext, client: ApiClient, name: string, request: CommandRequest) {
    this.#context = context;
    this.#client = client;
    this.#name = name;
    this.#request = request;
    this.#heardMs = context.io.now();
  }

  /** The command's exit code. */
  async run(): Promise<number> {
    const { io, out } = this.#context;
    for (;;) {
      const trouble = await this.#listen();
      if (typeof trouble === 'number') return trouble;
      if (io.now() - this.#heardMs > BACK_WITHIN_MS) {
        throw new CliFailure(EXIT.unreachable, `the agent does not come back: ${trouble}`, {
          hint: 'it stops the command when it is back; if it is not, the guard does, before its lease ends',
        });
      }
      out.note(`${trouble}; trying again`);
      await io.sleep(RETRY_MS, this.#leaving.signal);
    }
  }

  /** Ctrl-C or SIGTERM: the first asks the command to end, the second kills it, the third only leaves. */
  interrupted(times: number): void {
    const { out } = this.#context;
    if (times > 2 || this.#phase === 'asked') this.#leaving.abort(INTERRUPTED);
    const waiting = this.#phase !== 'started';
    this.#client.stopCommand(this.#name, this.#request.id, times > 1).then(
      () => {
        if (waiting) this.#leaving.abort(INTERRUPTED);
      },
      (error: unknown) => {
        if (waiting) this.#leaving.abort(INTERRUPTED);
        else
          out.note(`it could not be asked to end: ${error instanceof Error ? error.message : String(error)}`);
      },
    );
  }

  /** The exit code, or why this listening ended before the command did. */
  async #listen(): Promise<number | string> {
    const signal = this.#leaving.signal;
    const progress =
      this.#phase === 'started'
        ? this.#client.attachCommand(this.#name, this.#request.id, this.#cursor, signal)
        : this.#client.runCommand(this.#name, this.#request, signal);
    try {
      for await (const item of progress) {
        this.#heardMs = this.#context.io.now();
        const code = this.#tell(item);
        if (code !== null) return code;
      }
      return 'the agent has ended the connection';
    } catch (error) {
      if (signal.aborted) throw new CliFailure(EXIT.interrupted, 'interrupted', { cause: error });
      const away = error instanceof ApiUnreachable || (error instanceof ApiError && error.status === 503);
      if (away && this.#phase !== 'asked') return error.message;
      throw this.#failure(error);
    }
  }

  /** The exit code with the last word. */
  #tell(item: CommandProgress): number | null {
    const { out, io } = this.#context;
    if (out.json) out.item(item, () => '');
    switch (item.kind) {
      case 'waiting':
        this.#phase = 'waiting';
        out.note(
          `waiting for ${this.#name}: ${item.reason}${item.ahead > 0 ? ` (${item.ahead} before this one)` : ''}`,
        );
        return null;
      case 'started':
        this.#phase = 'started';
        return null;
      case 'output':
        this.#cursor = item.cursor;
        if (!out.json) io[item.stream].write(`${item.text}\n`);
        return null;
      case 'stopping':
        out.note(`stopping: ${item.reason}`);
        return null;
      case 'ended':
        if (!item.released)
          out.note(`it is dead, but the store could not be told yet that ${this.#name} is free`);
        return exitCodeOf(item);
    }
  }

  #failure(error: unknown): unknown {
    if (!(error instanceof ApiError)) return error;
    if (error.status === 404 && this.#phase === 'started') {
      return new CliFailure(EXIT.failed, `the agent knows nothing of the command any more`, {
        hint: `hop3-agent events --subject agent/${this.#name} tells what happened`,
        cause: error,
      });
    }
    if (error.status !== 409) return error;
    return new CliFailure(EXIT.conflict, error.message, {
      hint: this.#request.wait ? null : '--wait waits its turn; hop3-agent agents shows who has what',
      cause: error,
    });
  }
}

function exitCodeOf({ code, signal, reason }: CommandProgress & { kind: 'ended' }): number {
  if (code !== null) return code;
  const number = signal === null ? undefined : constants.signals[signal as NodeJS.Signals];
  if (number !== undefined) return SHELL_SIGNAL_BASE + number;
  throw new CliFailure(EXIT.failed, reason ?? 'the command has ended, nobody knows how');
}
