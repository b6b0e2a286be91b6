import type {
  AgentView,
  CommandProgress,
  CommandRequest,
  NameAnswer,
  NameRequest,
  NameState,
} from '../model/named-agents.ts';
import type { Listing } from '../ports/admin.ts';
import type { Ask } from './client-http.ts';
import type { Placed } from './client-stream.ts';
import type { AgentNews, Recall } from './wire-agents.ts';

/** What the client can ask about named agents; it rejects as the rest of the client does. */
export interface AgentCalls {
  agents(signal?: AbortSignal): Promise<Listing<AgentView>>;
  agentNamed(name: string, signal?: AbortSignal): Promise<AgentView>;
  /** A snapshot, then the ledger. After ApiUnreachable go on with the last `id` as `lastId`. */
  watchAgent(name: string, lastId?: string, signal?: AbortSignal): AsyncIterable<Placed<AgentNews>>;
  /** To be repeated within its `ttlSeconds` for as long as the holder waits or holds. */
  requestAgent(
    name: string,
    request: Pick<NameRequest, 'holder'> & Partial<NameRequest>,
    signal?: AbortSignal,
  ): Promise<NameAnswer>;
  releaseAgent(
    name: string,
    release: { holder: string; token?: string | null },
    signal?: AbortSignal,
  ): Promise<void>;
  /** By an operator: its owner's agent stops what it runs, then releases it. */
  recallAgent(name: string, signal?: AbortSignal): Promise<Recall>;
  agentState(name: string, signal?: AbortSignal): Promise<NameState>;
  putAgentState(
    name: string,
    write: { holder: string; token: string; state: unknown },
    signal?: AbortSignal,
  ): Promise<NameState>;
  /** Its last item is `ended`; one that ends without was cut off, and is listened to again with `attachCommand`. */
  runCommand(name: string, request: CommandRequest, signal?: AbortSignal): AsyncIterable<CommandProgress>;
  attachCommand(
    name: string,
    id: string,
    after: string | null,
    signal?: AbortSignal,
  ): AsyncIterable<CommandProgress>;
  stopCommand(name: string, id: string, kill: boolean, signal?: AbortSignal): Promise<void>;
  /** By an operator who knows that the node runs no copy of the subject any more. */
  confirmStopped(subject: string, node: string, signal?: AbortSignal): Promise<void>;
}

interface Tools {
  get: <T>(path: string, query: object, signal: AbortSignal | undefined) => Promise<T>;
  post: <T>(path: string, body: unknown, signal: AbortSignal | undefined) => Promise<T>;
  text: (ask: Ask) => Promise<string>;
  lines: <T>(ask: Ask) => AsyncGenerator<T>;
  events: <T>(ask: Ask, lastId: string | undefined) => AsyncGenerator<Placed<T>>;
}

const json = { 'content-type': 'application/json' };

export function agentCalls({ get, post, text, lines, events }: Tools): AgentCalls {
  const at = (name: string, rest = ''): string => `/v1/agents/${encodeURIComponent(name)}${rest}`;
  const tell = async (path: string, body: unknown, signal: AbortSignal | undefined): Promise<void> => {
    await text({ method: 'POST', path, headers: json, body: JSON.stringify(body), signal });
  };
  return {
    agents: signal => get('/v1/agents', {}, signal),
    agentNamed: (name, signal) => get(at(name), {}, signal),
    watchAgent: (name, lastId, signal) => events({ method: 'GET', path: at(name, '/watch'), signal }, lastId),
    requestAgent: (name, request, signal) => post(at(name, '/request'), request, signal),
    releaseAgent: (name, release, signal) => tell(at(name, '/release'), release, signal),
    recallAgent: (name, signal) => post(at(name, '/recall'), {}, signal),
    agentState: (name, signal) => get(at(name, '/state'), {}, signal),
    async putAgentState(name, write, signal) {
      const ask: Ask = {
        method: 'PUT',
        path: at(name, '/state'),
        headers: json,
        body: JSON.stringify(write),
        signal,
      };
      return JSON.parse(await text(ask)) as NameState;
    },
    runCommand: (name, request, signal) =>
      lines({
        method: 'POST',
        path: at(name, '/commands'),
        headers: json,
        body: JSON.stringify(request),
        signal,
      }),
    attachCommand: (name, id, after, signal) =>
      lines({
        method: 'GET',
        path: at(name, `/commands/${encodeURIComponent(id)}`),
        query: { after },
        signal,
      }),
    stopCommand: (name, id, kill, signal) =>
      tell(at(name, `/commands/${encodeURIComponent(id)}/stop`), { kill }, signal),
    confirmStopped: (subject, node, signal) =>
      tell('/v1/subjects/confirm-stopped', { subject, node }, signal),
  };
}
