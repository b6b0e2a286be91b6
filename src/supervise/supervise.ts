import { subjectOfInstance, type InstantMs, type NodeName, type Subject } from '../model/ids.ts';
import { brake } from './brake.ts';
import { defaultPolicy, type SupervisorPolicy } from './policy.ts';
import { repairOf, type KnownRequest, type NewRequest, type SupervisedPromise } from './repair.ts';

export interface SuperviseInput {
  promises: SupervisedPromise[];
  unplaced: { subject: Subject; sinceMs: InstantMs; why: string }[];
  requests: KnownRequest[];
  gone: { node: NodeName; sinceMs: InstantMs }[];
  liveNodes: NodeName[];
  /** `told` of the round before; empty at first. */
  told: ReadonlySet<string>;
  nowMs: InstantMs;
}

interface SupervisedEvent {
  kind: string;
  subject: string;
  message: string;
  details: Record<string, unknown>;
}

export interface Supervision {
  requests: NewRequest[];
  events: SupervisedEvent[];
  /** Ids of requests that have had their time: to be deleted with their answers. */
  forget: string[];
  /** What need not be said again; to be given back in the next round. */
  told: ReadonlySet<string>;
  wakeInMs: number | null;
}

/**
 * What the elected node asks of others, and what it tells people. It only asks: nothing it returns changes what runs,
 * unless the node concerned agrees. Doing it twice, or not at all, is safe.
 */
export function supervise(input: SuperviseInput, policy: SupervisorPolicy = defaultPolicy): Supervision {
  const repairs = input.promises.map(supervised => repair(supervised, input, policy));
  const findings = [
    ...repairs,
    ...unfitNodes(repairs, input),
    ...input.unplaced.map(each => unplaced(each, input, policy)),
    crowd(input, policy),
  ];
  const news = findings.flatMap(({ event }) => (event && !input.told.has(event.key) ? [event.event] : []));
  const remembered = findings.flatMap(({ event, keep }) => [...(event ? [event.key] : []), ...(keep ?? [])]);
  const ids = new Set(input.requests.map(({ request }) => overcome(request.id)));
  const dueMs = findings.flatMap(finding => finding.dueMs ?? []);
  return {
    requests: findings.flatMap(({ request }) => request ?? []),
    events: [...news, ...brakeReleased(input, remembered)],
    forget: outlived(input, policy),
    told: new Set([...remembered, ...[...input.told].filter(key => ids.has(key))]),
    wakeInMs: dueMs.length === 0 ? null : Math.max(0, Math.min(...dueMs) - input.nowMs),
  };
}

/** What one promise, instance or crowd gives rise to. An event is told once for as long as its cause lasts. */
interface Finding {
  request?: NewRequest;
  event?: { key: string; event: SupervisedEvent };
  /** Further keys to remember. */
  keep?: string[];
  dueMs?: InstantMs;
}

const givenUp = 'given-up';

/** Apps that stay broken on one node alone are more than an app's own fault. */
const appsOfAnUnfitNode = 2;

/** A node on which several apps stay broken that nobody has given up elsewhere is asked, once, to empty itself. */
function unfitNodes(repairs: Finding[], { promises, told, liveNodes }: SuperviseInput): Finding[] {
  const keys = repairs.flatMap(({ event, keep }) => [...(event ? [event.key] : []), ...(keep ?? [])]);
  const given = keys.flatMap(key => {
    const [kind, node = '', subject = ''] = key.split(' ');
    return kind === givenUp ? [{ node, app: subject.split('/')[1] ?? '' }] : [];
  });
  return liveNodes.flatMap((node): Finding[] => {
    const apps = new Set(given.filter(each => each.node === node).map(({ app }) => app));
    for (const other of given) if (other.node !== node) apps.delete(other.app);
    if (apps.size < appsOfAnUnfitNode) return [];
    const key = `unfit ${node}`;
    const drains = promises.some(
      ({ promise }) => promise.promiser === node && promise.body.kind === 'draining',
    );
    if (told.has(key) || drains) return [{ keep: [key] }];
    const reason = `${[...apps].join(', ')} stay broken there, however often restarted, and nowhere else`;
    return [{ request: { node, action: 'drain', subject: `node/${node}`, reason, attempt: 0 }, keep: [key] }];
  });
}

function repair(supervised: SupervisedPromise, input: SuperviseInput, policy: SupervisorPolicy): Finding {
  const { promiser, body } = supervised.promise;
  if (body.kind !== 'running' || !input.liveNodes.includes(promiser)) return {};
  const subject = subjectOfInstance(body.instance);
  const before = input.requests.filter(
    ({ request }) =>
      request.action === 'restart' &&
      request.node === promiser &&
      request.subject === subject &&
      !input.told.has(overcome(request.id)),
  );
  const key = `${givenUp} ${promiser} ${subject}`;
  const move = repairOf(supervised, before, policy, input.nowMs);
  if (move.kind === 'healthy') return { keep: before.map(({ request }) => overcome(request.id)) };
  // Given up stays given up until it is well again, also when the requests are long forgotten.
  if (input.told.has(key)) return { keep: [key] };
  switch (move.kind) {
    case 'none':
      return {};
    case 'wait':
      return { dueMs: move.untilMs };
    case 'ask':
      return { request: move.request };
    case 'give-up':
      return {
        event: {
          key,
          event: {
            kind: 'repair-given-up',
            subject,
            message: `${promiser} was asked ${move.attempts} times to restart ${body.instance}, and it is still ${move.reason}`,
            details: { node: promiser, attempts: move.attempts },
          },
        },
      };
  }
}

function unplaced(
  { subject, sinceMs, why }: SuperviseInput['unplaced'][number],
  { nowMs }: SuperviseInput,
  { unplacedAfterMs }: SupervisorPolicy,
): Finding {
  const dueMs = sinceMs + unplacedAfterMs;
  if (nowMs < dueMs) return { dueMs };
  const message = `${subject} has had no owner for ${unplacedAfterMs / 1000} s: ${why}`;
  return {
    event: {
      key: `unplaced ${subject}`,
      event: { kind: 'instance-unplaced', subject, message, details: { why } },
    },
  };
}

const brakeKey = 'brake';

function crowd({ gone, liveNodes }: SuperviseInput, { crowdShare }: SupervisorPolicy): Finding {
  const names = gone.map(({ node }) => node);
  const known = new Set([...liveNodes, ...names]).size;
  const { reason } = brake({ known, gone: gone.length }, crowdShare);
  if (reason === null) return {};
  return {
    event: {
      key: brakeKey,
      event: { kind: 'brake-engaged', subject: 'cluster', message: reason, details: { gone: names } },
    },
  };
}

function brakeReleased({ told, liveNodes }: SuperviseInput, remembered: string[]): SupervisedEvent[] {
  if (!told.has(brakeKey) || remembered.includes(brakeKey)) return [];
  const message = `takeovers are as fast as ever again: ${liveNodes.length} nodes are there`;
  return [{ kind: 'brake-released', subject: 'cluster', message, details: { nodes: liveNodes } }];
}

/** Requests to nodes that are gone, and those that were shown long enough. */
function outlived({ requests, liveNodes, nowMs }: SuperviseInput, { keepMs }: SupervisorPolicy): string[] {
  return requests
    .filter(({ request, sinceMs }) => !liveNodes.includes(request.node) || nowMs - sinceMs >= keepMs)
    .map(({ request }) => request.id);
}

/** Requests for what has been well since are not counted as attempts any more. */
function overcome(request: string): string {
  return `overcome ${request}`;
}
