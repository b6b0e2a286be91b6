import type {
  AgentName,
  AgentView,
  CommandProgress,
  CommandRequest,
  NameAnswer,
  NameRequest,
  NameState,
} from '../model/named-agents.ts';
import type { NodeName, Subject, Token } from '../model/ids.ts';
import type { Listing } from './admin.ts';

/** Names that programs own one at a time (ownership rule 13), as a node's agent serves them. @throws AdminError, StoreError */
export interface NamedAgents {
  agents(): Listing<AgentView>;
  /** From memory, without asking the store; of what this node owns it is the truth of this moment. */
  agent(name: AgentName): AgentView;
  /** As of one revision, from which the ledger's events go on. */
  snapshot(name: AgentName): Promise<{ revision: string; agent: AgentView }>;
  /** Whether the ledger still holds all that came after that revision. */
  ledgerReaches(revision: bigint): Promise<boolean>;
  /** Asks for the name, or says that its holder still lives. @throws AdminError `conflict` when it is not to be had */
  request(name: AgentName, request: NameRequest, signal: AbortSignal): Promise<NameAnswer>;
  /** By its holder, after its work has stopped; or it waits no more. `token` null = whatever it has. */
  release(name: AgentName, holder: string, token: Token | null): Promise<void>;
  /** null when it has none. */
  state(name: AgentName): Promise<NameState | null>;
  /** @throws AdminError `conflict` unless the holder has the name under this very token */
  putState(name: AgentName, write: { holder: string; token: Token; state: unknown }): Promise<NameState>;
  /**
   * Runs a command while the name is owned, and stops it when nobody listens for a while. Ends after `ended`; aborting
   * only ends the listening.
   */
  run(name: AgentName, request: CommandRequest, signal: AbortSignal): AsyncIterable<CommandProgress>;
  /** Listens to a command that is there, after a line's cursor; null = from its first line. */
  attach(
    name: AgentName,
    id: string,
    after: string | null,
    signal: AbortSignal,
  ): AsyncIterable<CommandProgress>;
  /** Asks the command to end, with its stop timeout; `kill` = without. */
  stopCommand(name: AgentName, id: string, kill: boolean): void;
  /** By an operator: the owner's agent stops what it runs and releases the name. Says what was begun. */
  recall(name: AgentName): Promise<{ owner: NodeName; holder: string; token: Token }>;
  /** By an operator who knows that the node runs no copy of the subject any more (ownership rule 8). */
  clearMayStillRun(subject: Subject, node: NodeName): Promise<void>;
}
