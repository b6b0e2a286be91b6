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

export interface SupervisedEvent {
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
  const round = new Round(input, policy);
  round.repairs();
  round.unplaced();
  round.crowd();
  return round.result();
}

class Round {
  private readonly input: SuperviseInput;
  private readonly policy: SupervisorPolicy;
  private readonly requests: NewRequest[] = [];
  private readonly events: SupervisedEvent[] = [];
  private readonly forget: string[];
  private readonly told = new Set<string>();
  private readonly dueMs: InstantMs[] = [];

  constructor(input: SuperviseInput, policy: SupervisorPolicy) {
    this.input = input;
    this.policy = policy;
    this.forget = input.requests
      .filter(
        ({ request, sinceMs }) =>
          !input.liveNodes.includes(request.node) || input.nowMs - sinceMs >= policy.keepMs,
      )
      .map(({ request }) => request.id);
    for (const { request } of input.requests) this.keep(overcome(request.id));
  }

  repairs(): void {
    const live = this.input.promises.filter(({ promise }) => this.input.liveNodes.includes(promise.promiser));
    for (const supervised of live) {
      const { promise } = supervised;
      if (promise.body.kind !== 'running') continue;
      const subject = subjectOfInstance(promise.body.instance);
      const before = this.input.requests.filter(
        ({ request }) =>
          request.action === 'restart' &&
          request.node === promise.promiser &&
          request.subject === subject &&
          !this.input.told.has(overcome(request.id)),
      );
      const givenUp = `given-up ${promise.promiser} ${subject}`;
      const repair = repairOf(supervised, before, this.policy, this.input.nowMs);
      if (repair.kind === 'healthy') {
        for (const { request } of before) this.told.add(overcome(request.id));
        continue;
      }
      this.keep(givenUp);
      if (this.told.has(givenUp)) continue;
      if (repair.kind === 'wait') this.dueMs.push(repair.untilMs);
      if (repair.kind === 'ask') this.requests.push(repair.request);
      if (repair.kind === 'give-up') {
        this.tell(givenUp, {
          kind: 'repair-given-up',
          subject,
          message: `${promise.promiser} was asked ${repair.attempts} times to restart ${promise.body.instance}, and it is still ${repair.reason}`,
          details: { node: promise.promiser, attempts: repair.attempts },
        });
      }
    }
  }

  unplaced(): void {
    for (const { subject, sinceMs, why } of this.input.unplaced) {
      const dueMs = sinceMs + this.policy.unplacedAfterMs;
      if (this.input.nowMs < dueMs) {
        this.dueMs.push(dueMs);
        continue;
      }
      this.tell(`unplaced ${subject}`, {
        kind: 'instance-unplaced',
        subject,
        message: `${subject} has had no owner for ${Math.round(this.policy.unplacedAfterMs / 1000)} s: ${why}`,
        details: { why },
      });
    }
  }

  crowd(): void {
    const { gone, liveNodes } = this.input;
    const known = new Set([...liveNodes, ...gone.map(({ node }) => node)]).size;
    const { active, reason } = brake(
      { known, gone: gone.length, recentTakeovers: 0 },
      this.policy.crowdShare,
    );
    if (active) {
      this.tell('brake', {
        kind: 'brake-engaged',
        subject: 'cluster',
        message: reason ?? '',
        details: { gone: gone.map(({ node }) => node) },
      });
    } else if (this.input.told.has('brake')) {
      this.events.push({
        kind: 'brake-released',
        subject: 'cluster',
        message: `takeovers are as fast as ever again: ${liveNodes.length} nodes are there`,
        details: { nodes: liveNodes },
      });
    }
  }

  result(): Supervision {
    const { requests, events, forget, told } = this;
    const wakeInMs = this.dueMs.length === 0 ? null : Math.max(0, Math.min(...this.dueMs) - this.input.nowMs);
    return { requests, events, forget, told, wakeInMs };
  }

  /** An event that was told in an earlier round is only remembered. */
  private tell(key: string, event: SupervisedEvent): void {
    if (!this.input.told.has(key)) this.events.push(event);
    this.told.add(key);
  }

  private keep(key: string): void {
    if (this.input.told.has(key)) this.told.add(key);
  }
}

/** Requests for what has been well since are not counted as attempts any more. */
function overcome(request: string): string {
  return `overcome ${request}`;
}
