/** A host with one agent: 1–63 characters, lower-case letters, digits and hyphens. */
export type NodeName = string;
/** `^[a-z][a-z0-9-]{1,61}[a-z0-9]$`: the safest common subset of Hop3's and its root helper's identifiers. */
export type AppName = string;
/** `web`, `mailer`, … : a key of `run.workers`, a Procfile kind, or `web`. */
export type ProcessType = string;
/** `<app>/<process type>/<index>`, as in `blog/web/0`. */
export type InstanceId = string;
/** What can be owned, as in `instance/blog/web/0`. */
export type Subject = string;
/** A port of a node, `<number>/<protocol>`: `53/tcp` and `53/udp` are two. */
export type PortText = string;
/** `sha256:<64 hex digits>`. */
export type Digest = string;
/** The fencing token: a store revision, as a decimal string because it crosses JSON. */
export type Token = string;
/** Milliseconds on this node's own boot clock. Means nothing on another node. */
export type InstantMs = number;
/** Wall-clock time for people, RFC 3339 in UTC. No decision compares two of them. */
export type Timestamp = string;

export interface InstanceParts {
  app: AppName;
  process: ProcessType;
  index: number;
}

export function instanceId(parts: InstanceParts): InstanceId {
  return `${parts.app}/${parts.process}/${parts.index}`;
}

/** @throws RangeError when the text is not `<app>/<process>/<index>`. */
export function parseInstanceId(id: InstanceId): InstanceParts {
  const [app, process, index, ...rest] = id.split('/');
  if (!app || !process || index === undefined || !/^\d+$/.test(index) || rest.length > 0) {
    throw new RangeError(`"${id}" is not an instance: expected APP/PROCESS/INDEX`);
  }
  return { app, process, index: Number(index) };
}

const INSTANCE_PREFIX = 'instance/';

export function subjectOfInstance(id: InstanceId): Subject {
  return INSTANCE_PREFIX + id;
}

/** The instance a subject stands for, or null when the subject is something else. */
export function instanceOfSubject(subject: Subject): InstanceId | null {
  return subject.startsWith(INSTANCE_PREFIX) ? subject.slice(INSTANCE_PREFIX.length) : null;
}
