import type { NodeName } from '../../model/ids.ts';
import {
  holderOfCommand,
  type AgentName,
  type CommandProgress,
  type CommandRequest,
} from '../../model/named-agents.ts';
import { notAdmitted } from '../../ownership/admission.ts';
import { lineFor, placeInLine } from '../../ownership/queue.ts';
import { AdminError } from '../../ports/admin.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Session } from '../../ports/store.ts';
import type { Claim } from './name-claim.ts';
import type { NameClaims } from './name-claims.ts';
import type { NameMachine } from './name-machine.ts';
import { commandProgress } from './named-command-stream.ts';
import type { CommandParts, NamedCommand, NamedCommands } from './named-commands.ts';
import type { World } from '../world.ts';

/** How long the place in line of a command is kept whose command line is gone. */
const WAITER_REATTACH_SECONDS = 2;

export interface NameCommandLinesOptions {
  node: NodeName;
  world: World;
  clock: Clock;
  claims: NameClaims;
  machine: NameMachine;
  /** null = this node runs none. */
  commands: { running: NamedCommands; parts: CommandParts } | null;
}

/** Serves command lines: each asks for a name, has its command run under it, and listens to it. */
export class NameCommandLines {
  readonly #options: NameCommandLinesOptions;

  constructor(options: NameCommandLinesOptions) {
    this.#options = options;
  }

  async *run(name: AgentName, request: CommandRequest, signal: AbortSignal): AsyncGenerator<CommandProgress> {
    const { claims, machine, commands, clock } = this.#options;
    const holder = holderOfCommand(request.id);
    const known = claims.get(name, holder);
    if (!known || (known.state === 'Unassigned' && commands?.running.get(known)?.unit === null)) {
      const session = machine.session();
      const running = this.#ableTo(request.stopTimeoutSeconds, session);
      const claim = claims.open(name, holder, WAITER_REATTACH_SECONDS);
      claim.waits = request.wait;
      if (request.timeoutSeconds !== null) claim.waitUntilMs = clock.now() + request.timeoutSeconds * 1000;
      running.add(claim, request);
      claim.move('Requesting', 'asked for', claims.now());
      claim.listening++;
      try {
        await machine.advance(claim, session);
        if (claim.state === 'Pending' && !request.wait) {
          machine.giveUp(claim, machine.whyNot(claim)?.reason ?? `somebody was faster to take ${name}`);
          throw claims.taken(claim);
        }
      } catch (error) {
        if (stateOf(claim) === 'Pending') machine.giveUp(claim, 'the store did not answer in time');
        throw error;
      } finally {
        this.#heardLess(claim);
      }
    }
    yield* this.listen(name, request.id, null, signal);
  }

  async *listen(
    name: AgentName,
    id: string,
    after: string | null,
    signal: AbortSignal,
  ): AsyncGenerator<CommandProgress> {
    const { node, clock, world, machine } = this.#options;
    const { command, running, parts } = this.#command(name, id);
    const { claim } = command;
    claim.listening++;
    try {
      const standing = (): { ahead: number; reason: string } => ({
        ahead: placeInLine(lineFor(name, world.waiters.all()), claim.waiter?.name ?? null),
        reason: machine.whyNot(claim)?.reason ?? 'it is being taken',
      });
      yield* commandProgress(command, after, { node, driver: parts.driver, clock, standing }, signal);
    } finally {
      this.#heardLess(claim);
      command.aloneSinceMs = clock.now();
      running.wake();
    }
  }

  stop(name: AgentName, id: string, kill: boolean): void {
    const { machine } = this.#options;
    const { command, running } = this.#command(name, id);
    const { claim } = command;
    if (claim.state === 'Pending') {
      machine.giveUp(claim, 'its command line waited no more', 'Release');
      void machine.leaveLine(claim, 'Release');
      return;
    }
    running.end(command, kill ? 'its command line wants it dead' : 'its command line asked it to end', kill);
  }

  #heardLess(claim: Claim): void {
    claim.listening--;
    claim.heardMs = this.#options.clock.now();
    this.#options.machine.loop.wake();
  }

  #command(
    name: AgentName,
    id: string,
  ): { command: NamedCommand; running: NamedCommands; parts: CommandParts } {
    const { machine, claims, commands } = this.#options;
    if (!machine.restored) throw new AdminError('unavailable', 'the agent is just starting');
    const claim = claims.get(name, holderOfCommand(id));
    const command = claim ? commands?.running.get(claim) : undefined;
    if (!commands || !command)
      throw new AdminError('not-found', `no command "${id}" is known under ${name} here`);
    return { command, ...commands };
  }

  #ableTo(stopTimeoutSeconds: number, session: Session): NamedCommands {
    const { commands } = this.#options;
    if (!commands) throw new AdminError('refused', 'this node runs no commands for named agents');
    const reason = commands.parts.guardMissing ?? notAdmitted(session.ttlSeconds, stopTimeoutSeconds);
    if (reason !== null) throw new AdminError('invalid', reason);
    return commands.running;
  }
}

/** Read afresh: the compiler would take an earlier look for the present. */
function stateOf(claim: Claim): Claim['state'] {
  return claim.state;
}
