import type { CommandProgress } from '../../model/named-agents.ts';
import type { NodeName, Token } from '../../model/ids.ts';
import { AdminError } from '../../ports/admin.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Driver } from '../../ports/driver.ts';
import { Channel } from '../channel.ts';
import { instanceOf, type NamedCommand } from './named-commands.ts';

/** Lines that may wait for a slow listener. */
const MOST_WAITING = 1000;
/** Whoever waits for the end is told of it even if the store can't be, which may take long. */
const RELEASED_WITHIN_MS = 5000;
/** When it can't be told where a command's own output begins. */
const LONG_PAST = 10_000;

export interface Listening {
  node: NodeName;
  driver: Driver;
  clock: Clock;
  /** How many come before it, and why it has to wait. */
  standing: () => { ahead: number; reason: string };
}

/**
 * A command as it goes, for one listener: while it waits for its name, what it writes, and how it ended. Output that comes
 * after a line's cursor is told once, also over several listenings. @throws AdminError when it never got its name
 */
export async function* commandProgress(
  command: NamedCommand,
  after: string | null,
  options: Listening,
  signal: AbortSignal,
): AsyncGenerator<CommandProgress> {
  const { claim } = command;
  let told = '';
  while (command.phase === 'waiting' || command.phase === 'starting') {
    if (signal.aborted) return;
    if (claim.state === 'Unassigned') throw new AdminError('conflict', claim.reason, { agent: claim.name });
    const { ahead, reason } = options.standing();
    if (claim.state === 'Pending' && `${ahead} ${reason}` !== told) {
      told = `${ahead} ${reason}`;
      yield { kind: 'waiting', ahead, reason };
    }
    await claim.untilChange(signal);
  }
  if (command.unit !== null) {
    yield { kind: 'started', node: options.node, holder: claim.holder, token: tokenOf(command) };
    yield* output(command, command.unit, after, options, signal);
  }
  // An agent that is stopping reads no more output: whoever listens goes on with the next one.
  if (!signal.aborted && phaseOf(command) === 'ended') yield await ending(command, options, signal);
}

/** Read afresh: the compiler would take an earlier look for the present. */
function phaseOf(command: NamedCommand): NamedCommand['phase'] {
  return command.phase;
}

/** Asked after it is had, so that the token is known for as long as anybody may ask. */
function tokenOf({ claim }: NamedCommand): Token {
  return claim.taken?.token ?? claim.lastToken;
}

async function* output(
  command: NamedCommand,
  unit: string,
  after: string | null,
  { driver }: Listening,
  signal: AbortSignal,
): AsyncGenerator<CommandProgress> {
  const { claim } = command;
  const ended = new AbortController();
  const channel = new Channel<CommandProgress>();
  let cursor = after ?? command.begin;
  let stopping = false;
  const look = (): void => {
    if (command.phase === 'stopping' && !stopping) {
      stopping = true;
      channel.send({ kind: 'stopping', reason: command.why ?? 'it is to end' });
    }
    if (command.phase === 'ended') ended.abort();
  };
  const stopLooking = claim.onChange(look);
  const close = (): void => channel.close();
  signal.addEventListener('abort', close, { once: true });
  const read = async (follow: boolean, until: AbortSignal): Promise<void> => {
    const from = cursor === null ? { lines: LONG_PAST } : { lines: 0, after: cursor };
    for await (const line of driver.output(instanceOf(claim.name), { ...from, follow, signal: until })) {
      cursor = line.cursor ?? null;
      if (line.unit !== unit) continue;
      await channel.offer({ kind: 'output', stream: line.stream, text: line.text, cursor }, MOST_WAITING);
    }
  };
  const reading = (async () => {
    look();
    await read(true, AbortSignal.any([signal, ended.signal]));
    // Once it is dead, what has not been read yet is all there is.
    if (!signal.aborted) await read(false, signal);
  })().finally(close);
  // Awaited below; a listener that left before has no use for how the reading ended.
  reading.catch(() => undefined);
  try {
    yield* channel;
    await reading;
  } finally {
    stopLooking();
    signal.removeEventListener('abort', close);
    ended.abort();
    close();
  }
}

async function ending(
  command: NamedCommand,
  { clock }: Listening,
  signal: AbortSignal,
): Promise<CommandProgress> {
  const { claim } = command;
  const patience = new AbortController();
  const cancel = clock.after(RELEASED_WITHIN_MS, () => patience.abort());
  const enough = AbortSignal.any([signal, patience.signal]);
  while (claim.state === 'Assigned' && !enough.aborted) await claim.untilChange(enough);
  cancel();
  const end = command.end ?? { code: null, signal: null, reason: 'it is not known how it ended' };
  return { kind: 'ended', ...end, released: claim.state !== 'Assigned' };
}
