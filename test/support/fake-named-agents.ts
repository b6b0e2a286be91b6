import type {
  AgentName,
  AgentView,
  CommandProgress,
  CommandRequest,
  NameAnswer,
  NameRequest,
  NameState,
} from '../../src/model/named-agents.ts';
import type { Token } from '../../src/model/ids.ts';
import { AdminError, type Listing } from '../../src/ports/admin.ts';
import type { NamedAgents } from '../../src/ports/named-agents.ts';

const AT = '2026-01-01T00:00:00.000Z';

/** Names of one node, kept in memory: whoever asks first has it until it is released. */
export class FakeNamedAgents implements NamedAgents {
  /** What a command tells. */
  script: CommandProgress[] = [];
  /** The oldest revision the ledger holds; null = it is empty. */
  ledgerFrom: bigint | null = 0n;
  readonly runs: CommandRequest[] = [];
  readonly attaches: { id: string; after: string | null }[] = [];
  readonly stops: { id: string; kill: boolean }[] = [];
  readonly cleared: string[] = [];
  /** As of which revision a snapshot is. */
  revision = '100';
  private readonly holders = new Map<AgentName, string>();
  private readonly states = new Map<AgentName, NameState>();
  /** Of the name that was taken last; it only grows. */
  private token = 6n;
  private readonly tokens = new Map<AgentName, string>();

  agents(): Listing<AgentView> {
    return { revision: this.revision, items: [...this.holders.keys()].map(name => this.agent(name)) };
  }

  agent(name: AgentName): AgentView {
    const holder = this.holders.get(name) ?? null;
    return {
      name,
      state: holder === null ? 'Inactive' : 'Assigned',
      owner: holder === null ? null : 'n1',
      holder,
      token: holder === null ? null : this.tokenOf(name),
      since: holder === null ? null : AT,
      reason: holder === null ? 'nobody has taken it yet' : 'owned by n1',
      validForMs: holder === null ? null : 5000,
      waiters: [{ node: 'n2', holder: 'next', since: AT }],
      requests: holder === null ? [] : [{ holder, state: 'Assigned', since: AT, reason: 'it was free' }],
    };
  }

  async snapshot(name: AgentName): Promise<{ revision: string; agent: AgentView }> {
    return { revision: this.revision, agent: this.agent(name) };
  }

  async ledgerReaches(revision: bigint): Promise<boolean> {
    return this.ledgerFrom !== null && this.ledgerFrom <= revision;
  }

  async request(name: AgentName, request: NameRequest): Promise<NameAnswer> {
    const holder = this.holders.get(name);
    if (holder !== undefined && holder !== request.holder && !request.wait) {
      throw new AdminError('conflict', `${name} is held by ${holder} on n1 since ${AT}`, { holder });
    }
    const waits = holder !== undefined && holder !== request.holder;
    if (request.token !== null && (holder !== request.holder || request.token !== this.tokenOf(name)))
      throw this.notInForce(request.token);
    if (holder === undefined) this.tokens.set(name, String(++this.token));
    if (!waits) this.holders.set(name, request.holder);
    return {
      name,
      node: 'n1',
      holder: request.holder,
      state: waits ? 'Pending' : 'Assigned',
      since: AT,
      reason: 'so it is',
      token: waits ? null : this.tokenOf(name),
      validForMs: waits ? null : 5000,
      ahead: waits ? 0 : null,
    };
  }

  async release(name: AgentName, holder: string, token: Token | null): Promise<void> {
    if (this.holders.get(name) !== holder)
      throw new AdminError('not-found', `"${holder}" does not have ${name}`);
    if (token !== null && token !== this.tokenOf(name)) throw this.notInForce(token);
    this.holders.delete(name);
  }

  async state(name: AgentName): Promise<NameState | null> {
    return this.states.get(name) ?? null;
  }

  async putState(
    name: AgentName,
    { holder, token, state }: { holder: string; token: string; state: unknown },
  ): Promise<NameState> {
    if (this.holders.get(name) !== holder || token !== this.tokenOf(name)) throw this.notInForce(token);
    const written = { name, state, token, node: 'n1', holder, at: AT, revision: this.revision };
    this.states.set(name, written);
    return written;
  }

  async *run(name: AgentName, request: CommandRequest): AsyncGenerator<CommandProgress> {
    this.runs.push(request);
    const holder = this.holders.get(name);
    if (holder !== undefined)
      throw new AdminError('conflict', `${name} is held by ${holder} on n1 since ${AT}`);
    yield* this.script;
  }

  async *attach(_name: AgentName, id: string, after: string | null): AsyncGenerator<CommandProgress> {
    this.attaches.push({ id, after });
    if (id === 'unknown') throw new AdminError('not-found', 'no such command');
    yield* this.script;
  }

  stopCommand(_name: AgentName, id: string, kill: boolean): void {
    this.stops.push({ id, kill });
  }

  async recall(name: AgentName): Promise<{ owner: string; holder: string; token: string }> {
    const holder = this.holders.get(name);
    if (holder === undefined) throw new AdminError('conflict', `nobody owns ${name}`);
    this.holders.delete(name);
    return { owner: 'n1', holder, token: this.tokenOf(name) };
  }

  async clearMayStillRun(subject: string, node: string): Promise<void> {
    this.cleared.push(`${subject}@${node}`);
  }

  private tokenOf(name: AgentName): Token {
    return this.tokens.get(name) ?? '';
  }

  private notInForce(token: Token): AdminError {
    return new AdminError('conflict', `token ${token} is not in force`);
  }
}
