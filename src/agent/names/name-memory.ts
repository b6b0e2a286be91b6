import type { Timestamp, Token } from '../../model/ids.ts';
import type { AgentName, CommandEnd } from '../../model/named-agents.ts';
import type { LocalState } from '../../ports/local-state.ts';

const DOCUMENT = 'named-agents';

/** What the next agent of this node must know of a claim: whose it is, and what runs for it. */
export interface RememberedClaim {
  name: AgentName;
  holder: string;
  ttlSeconds: number;
  /** null = it may have been about to be taken. */
  token: Token | null;
  incarnation: string | null;
  since: Timestamp;
  command: RememberedCommand | null;
}

export interface RememberedCommand {
  id: string;
  /** null = not started. */
  unit: string | null;
  /** Where in the output of its name its own begins. */
  begin: string | null;
  stopTimeoutSeconds: number;
  /** null while it may live. */
  end: CommandEnd | null;
}

/** Names outlive the agent like the commands that run under them: it is written down who has them before they do. */
export class NameMemory {
  readonly #state: LocalState;
  readonly #claims: () => RememberedClaim[];
  #written = '[]';
  #writing: Promise<void> = Promise.resolve();

  constructor(state: LocalState, claims: () => RememberedClaim[]) {
    this.#state = state;
    this.#claims = claims;
  }

  async read(): Promise<RememberedClaim[]> {
    const document = await this.#state.read(DOCUMENT);
    if (typeof document !== 'object' || document === null || !('claims' in document)) return [];
    const { claims } = document;
    return Array.isArray(claims) ? claims.flatMap(parseClaim) : [];
  }

  /** Resolves when what is claimed now, or later, is on file. */
  save(): Promise<void> {
    const saving = this.#writing.then(async () => {
      const claims = this.#claims();
      const text = JSON.stringify(claims);
      if (text === this.#written) return;
      await this.#state.write(DOCUMENT, { v: 1, claims });
      this.#written = text;
    });
    this.#writing = saving.catch(() => undefined);
    return saving;
  }
}

/** What this agent, or one before it, wrote; anything else is passed over. */
function parseClaim(value: unknown): RememberedClaim[] {
  if (typeof value !== 'object' || value === null) return [];
  const { name, holder, ttlSeconds, token, incarnation, since, command } = value as Partial<RememberedClaim>;
  if (typeof name !== 'string' || typeof holder !== 'string' || typeof ttlSeconds !== 'number') return [];
  return [
    {
      name,
      holder,
      ttlSeconds,
      token: token ?? null,
      incarnation: incarnation ?? null,
      since: since ?? '',
      command: command ?? null,
    },
  ];
}
