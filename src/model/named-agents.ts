import type { NodeName, Subject, Timestamp, Token } from './ids.ts';

/** A name that programs own one at a time: 1–63 lower-case letters, digits, dots, hyphens and underscores. */
export type AgentName = string;

export const AGENT_NAME = /^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$/;

const PREFIX = 'agent/';

export function subjectOfAgent(name: AgentName): Subject {
  return PREFIX + name;
}

/** The named agent a subject stands for, or null when the subject is something else. */
export function agentOfSubject(subject: Subject): AgentName | null {
  return subject.startsWith(PREFIX) ? subject.slice(PREFIX.length) : null;
}

const COMMAND_PREFIX = 'command:';

/** Who holds a name for a command that the agent runs itself, under its guard. No program can call itself that. */
export function holderOfCommand(id: string): string {
  return COMMAND_PREFIX + id;
}

/** Whether what a holder does is dead once its process is: that of a program outside may go on. */
export function isCommand(holder: string): boolean {
  return holder.startsWith(COMMAND_PREFIX);
}

/** A named agent, in the words of the cluster machine. */
export interface AgentView {
  name: AgentName;
  state: 'Inactive' | 'Assigned' | 'Unassigned';
  owner: NodeName | null;
  /** Who on that node. */
  holder: string | null;
  token: Token | null;
  /** Since when it is owned; null while nobody owns it. */
  since: Timestamp | null;
  /** Why it is as it is, in words. */
  reason: string;
  /** For how long its holder may act on it unless it is heard again; only the owner's own agent knows, null from others. */
  validForMs: number | null;
  /** In the order in which they will get it. */
  waiters: WaiterView[];
  /** How the requests made at the node that answers stand. */
  requests: RequestStanding[];
}

export interface WaiterView {
  node: NodeName;
  holder: string;
  since: Timestamp;
}

/** One request, in the words of the request machine. */
export interface RequestStanding {
  holder: string;
  state: 'Pending' | 'Assigned' | 'Unassigned';
  /** Since when it is in that state. */
  since: Timestamp;
  reason: string;
}

/** What a program sends, and sends again in less than `ttlSeconds` for as long as it waits or holds. */
export interface NameRequest {
  holder: string;
  /** False = an answer now: it is had, or somebody has it. */
  wait: boolean;
  /** How long the answer may be put off while it is waited for. */
  waitSeconds: number;
  /** The holder's own silence after which it counts as gone. */
  ttlSeconds: number;
  /** The token it believes to hold the name under; null when it asks anew. */
  token: Token | null;
}

export interface NameAnswer extends RequestStanding {
  name: AgentName;
  node: NodeName;
  token: Token | null;
  /** Counted from when the request was sent: after that the holder must not act on the name. null unless Assigned. */
  validForMs: number | null;
  /** How many come before it; null unless Pending. */
  ahead: number | null;
}

/** The last known state of a named agent: any JSON, written only by who owned the name at that time. */
export interface NameState {
  name: AgentName;
  state: unknown;
  token: Token;
  node: NodeName;
  holder: string;
  at: Timestamp;
  /** As a decimal string. */
  revision: string;
}

export interface CommandRequest {
  /** Chosen by the command line, once for each call. */
  id: string;
  /** The program and its arguments. */
  command: string[];
  /** Absolute, on the agent's own machine. */
  directory: string;
  /** The whole environment. */
  env: Record<string, string>;
  wait: boolean;
  /** How long to wait; null = as long as it takes. */
  timeoutSeconds: number | null;
  stopTimeoutSeconds: number;
}

/** A command under a name, as it goes; `ended` is the last. */
export type CommandProgress =
  | { kind: 'waiting'; ahead: number; reason: string }
  | { kind: 'started'; node: NodeName; holder: string; token: Token }
  | { kind: 'output'; stream: 'stdout' | 'stderr'; text: string; cursor: string | null }
  | { kind: 'stopping'; reason: string }
  | ({ kind: 'ended' } & CommandEnd);

export interface CommandEnd {
  /** null when a signal ended it, or nobody knows. */
  code: number | null;
  signal: string | null;
  /** Why it was stopped or could not be started; null when it ended by itself. */
  reason: string | null;
  /** False = it is dead, but the store could not yet be told that the name is free. */
  released: boolean;
}
