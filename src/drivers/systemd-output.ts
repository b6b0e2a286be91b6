import type { InstanceId } from '../model/ids.ts';
import type { Clock } from '../ports/clock.ts';
import type { OutputLine, OutputOptions } from '../ports/driver.ts';
import {
  entriesAfter,
  identifiersInJournal,
  newestEntries,
  syncJournal,
  type JournalEntry,
  type JournalMatch,
} from './systemd-journal.ts';
import type { SystemdNames } from './systemd-names.ts';
import type { AppUsers } from './systemd-users.ts';

/** The output of one agent's instances in the journal, which bounds and keeps it as the machine's owner has set it. */
export interface SystemdOutput {
  /** As `Driver.output`; all copies and streams in the order in which they were written. The journal keeps no empty lines. */
  read(instance: InstanceId, options: OutputOptions): AsyncIterable<OutputLine>;
  /** The end of both streams of one unit together. @throws ToolError, also when the signal aborts */
  last(
    instance: InstanceId,
    options: { unit: string; count: number; signal: AbortSignal },
  ): Promise<string[]>;
  /** Tells whoever follows the instance, before a new copy of it writes anything. */
  starting(instance: InstanceId, unit: string): void;
}

const AGAIN_MS = 250;

export function systemdOutput(options: {
  names: SystemdNames;
  users: AppUsers;
  clock: Clock;
}): SystemdOutput {
  const { names, users, clock } = options;
  const followers = new Set<(instance: InstanceId, unit: string) => void>();
  return {
    read,

    async last(instance, { unit, count, signal }) {
      const user = await users.find(instance);
      if (user === null) return [];
      await syncJournal(signal);
      const match = { uid: user.uid, identifiers: [names.identifier(instance, unit)] };
      return (await newestEntries(match, { count, signal })).map(({ text }) => text);
    },

    starting(instance, unit) {
      for (const follower of followers) follower(instance, unit);
    },
  };

  async function* read(
    instance: InstanceId,
    { lines, follow, after, onStart, signal }: OutputOptions,
  ): AsyncGenerator<OutputLine> {
    const started = new Started(instance, names);
    followers.add(started.note);
    try {
      let position = after ?? '';
      const match = await matchOf(instance, started);
      if (after === undefined) {
        // One more than asked for tells where those begin that are.
        const newest = match === null ? [] : await newestEntries(match, { count: lines + 1, signal });
        const before = newest.length > lines ? newest.shift() : undefined;
        position = before?.cursor ?? '';
        onStart?.(position);
        for (const entry of newest) {
          if (signal.aborted) return;
          position = entry.cursor;
          yield lineOf(instance, entry);
        }
        if (!follow) return;
      } else {
        onStart?.(position);
      }
      if (follow) yield* followFrom(instance, position, { started, signal });
      else if (match !== null) {
        for await (const entry of entriesAfter(position, match, { follow, signal }))
          yield lineOf(instance, entry);
      }
    } finally {
      followers.delete(started.note);
    }
  }

  /** The journal is asked anew whenever a copy is started, from where the reading is by then. */
  async function* followFrom(
    instance: InstanceId,
    from: string,
    { started, signal }: { started: Started; signal: AbortSignal },
  ): AsyncGenerator<OutputLine> {
    let position = from;
    while (!signal.aborted) {
      const until = AbortSignal.any([signal, started.next()]);
      const match = await matchOf(instance, started);
      if (match === null) await clock.sleep(AGAIN_MS, until);
      else {
        for await (const entry of entriesAfter(position, match, { follow: true, signal: until })) {
          position = entry.cursor;
          yield lineOf(instance, entry);
        }
        // The journal's reader may have been ended by somebody else.
        if (!until.aborted) await clock.sleep(AGAIN_MS, until);
      }
    }
  }

  /** null when nothing of the instance was ever written here. */
  async function matchOf(instance: InstanceId, started: Started): Promise<JournalMatch | null> {
    const user = await users.find(instance);
    if (user === null) return null;
    const found = (await identifiersInJournal()).filter(each => names.unitOf(instance, each) !== null);
    const identifiers = [...new Set([...found, ...started.identifiers])];
    return identifiers.length === 0 ? null : { uid: user.uid, identifiers };
  }

  function lineOf(instance: InstanceId, { identifier, stream, text, cursor }: JournalEntry): OutputLine {
    return { unit: names.unitOf(instance, identifier) ?? '', stream, text, cursor };
  }
}

/** What was started of one instance since somebody began to follow it. */
class Started {
  readonly identifiers: string[] = [];
  private readonly instance: InstanceId;
  private readonly names: SystemdNames;
  private waiting = new AbortController();

  constructor(instance: InstanceId, names: SystemdNames) {
    this.instance = instance;
    this.names = names;
  }

  readonly note = (instance: InstanceId, unit: string): void => {
    if (instance !== this.instance) return;
    this.identifiers.push(this.names.identifier(instance, unit));
    this.waiting.abort();
  };

  /** Aborts at the next start; `identifiers` has those until now. */
  next(): AbortSignal {
    this.waiting = new AbortController();
    return this.waiting.signal;
  }
}
