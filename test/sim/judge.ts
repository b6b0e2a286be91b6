import { portText } from '../../src/model/app-spec.ts';
import { instanceOfSubject, type InstanceId, type Subject } from '../../src/model/ids.ts';
import { tokenOf, type AssessmentRecord, type OwnerRecord } from '../../src/model/records.ts';
import type { CommitResult, Write } from '../../src/ports/store.ts';
import type { KeyValue } from '../../src/store/wire.ts';
import type { Sender, SimEtcd, Written } from './etcd.ts';
import type { Machine, SimUnit } from './machine.ts';
import { copiesOf } from './machine.ts';
import type { Timeline } from './timeline.ts';

/** Something that must never happen has happened. */
export class Violation extends Error {
  constructor(rule: string, message: string) {
    super(`${rule}: ${message}`);
    this.name = 'Violation';
  }
}

export interface JudgeParts {
  timeline: Timeline;
  etcd: SimEtcd;
  machines: Map<string, Machine>;
  /** Clock rates within the margin and no suspended host: what is not fenced is judged as well. */
  strict: boolean;
  /** Nothing but the way to the store is ever broken: no redundant instance may be without a copy. */
  storeOnly: boolean;
}

/** What is to run in the end, once. */
export interface WantedCopy {
  instance: InstanceId;
  version: string;
}

interface Counts {
  takeovers: number;
  staleAttempts: number;
  writesAccepted: number;
  exclusiveStarts: number;
  /** Two exclusive copies at once, where nothing says that there are none. */
  overlaps: number;
}

/** What a resource that knows about fencing remembers of one subject. */
interface Resource {
  highest: bigint;
  accepted: bigint[];
}

/** Sees everything at once, on the true clock, and says when a rule is broken. */
export class Judge {
  readonly counts: Counts = {
    takeovers: 0,
    staleAttempts: 0,
    writesAccepted: 0,
    exclusiveStarts: 0,
    overlaps: 0,
  };
  /** The first rule that was broken. */
  broken: Violation | null = null;
  /** From when on no redundant instance may be without a copy; null = not yet. */
  heldSinceMs: number | null = null;
  private readonly parts: JudgeParts;
  private readonly tokens = new Map<Subject, { last: bigint; issued: Map<string, string> }>();
  private readonly resources = new Map<InstanceId, Resource>();

  constructor(parts: JudgeParts) {
    this.parts = parts;
  }

  /** Each write, at the moment it is made: the state is still as it was. */
  written(written: Written): void {
    this.note(() => this.judgeWritten(written));
  }

  private judgeWritten(written: Written): void {
    const prefix = this.parts.etcd.keys.prefix('owners');
    if (!written.key.startsWith(prefix)) return;
    const subject = written.key.slice(prefix.length);
    const before = written.before ? parse(written.before) : null;
    const by = written.by?.node ?? fail('rule 1', `${subject} was written by the end of a lease`);
    if (!compares(written)) fail('rule 1', `${by} wrote ${subject} without comparing it as last read`);
    if (!written.after) {
      const free = before !== null && before.released !== null && before.mayStillRun.length === 0;
      if (!free) fail('rule 1', `${by} deleted ${subject}, which was not released by all`);
      return;
    }
    const after = parse(written.after);
    this.parts.timeline.tell(
      `${by} writes ${subject} -> ${after.node}/${after.incarnation} ${after.released ? 'released' : 'owned'} ` +
        `[${after.mayStillRun.join(' ')}]`,
    );
    if (before?.operation !== after.operation) this.taken(written, by, subject, before, after);
    else if (after.released !== null && before.released === null) {
      this.released(by, subject, written, before, after);
    } else this.confirmed(by, subject, written, before, after);
  }

  /** What a node was told of its own transaction. */
  acknowledged(node: string, writes: Write[], result: CommitResult): void {
    this.note(() => this.judgeAcknowledged(node, writes, result));
  }

  private judgeAcknowledged(node: string, writes: Write[], result: CommitResult): void {
    if (result.kind !== 'committed') return;
    const { etcd } = this.parts;
    const done = etcd.written.get(result.revision);
    for (const write of writes) {
      // What is deleted may not have been there.
      if ('delete' in write) continue;
      const key = etcd.keys.key(write.put, write.name);
      if (done?.has(key) !== true) {
        fail('acknowledged', `${node} was told that ${key} is written at ${result.revision}, and it is not`);
      }
    }
  }

  started(unit: SimUnit): void {
    this.note(() => this.judgeStarted(unit));
  }

  private judgeStarted(unit: SimUnit): void {
    const { instance, guarded } = unit.described;
    this.judgePorts(unit);
    this.parts.timeline.tell(`${unit.node} starts ${unit.described.unit} token ${unit.token ?? 'none'}`);
    const issued = this.tokens.get(`instance/${instance}`)?.issued;
    const known = unit.token === null ? undefined : issued?.get(unit.token);
    if (known !== unit.node && !(unit.token === '0' && guarded !== true)) {
      fail(
        'rule 11',
        `${unit.node} started ${instance} with token ${unit.token ?? 'none'}, never given to it`,
      );
    }
    if (guarded !== true) return;
    this.counts.exclusiveStarts++;
    const others = copiesOf(this.parts.machines.values(), instance).filter(other => other !== unit);
    if (others.length > 0) this.counts.overlaps++;
    if (this.parts.strict && others.length > 0) {
      fail(
        'at most one',
        `${instance} runs on ${unit.node} and on ${others.map(other => other.node).join(', ')}`,
      );
    }
  }

  /** A port has one holder on its node: its key says so, and nothing else that has it lives there. */
  private judgePorts({ node, launch, described: { instance } }: SimUnit): void {
    const { etcd, machines } = this.parts;
    for (const port of launch.ports?.map(portText) ?? []) {
      const other = machines
        .get(node)
        ?.living()
        .find(
          unit => unit.described.instance !== instance && unit.launch.ports?.map(portText).includes(port),
        );
      if (other) fail('ports', `${node} started ${instance} on ${port}, which ${other.described.unit} has`);
      const holder = etcd.parsed('ports', `${node}/${port}`)?.value.instance;
      if (holder !== undefined && holder !== instance)
        fail('ports', `${node} started ${instance} on ${port}, which is ${holder}'s`);
    }
  }

  ended(unit: SimUnit, why: string): void {
    this.note(() => this.judgeEnded(unit, why));
  }

  private judgeEnded(unit: SimUnit, why: string): void {
    const { instance } = unit.described;
    this.parts.timeline.tell(`${unit.node} ends ${unit.described.unit} ${why}`);
    if (!this.parts.storeOnly || this.heldSinceMs === null || unit.launch.guarded === true) return;
    if (copiesOf(this.parts.machines.values(), instance).length === 0) {
      fail('rule 8', `nothing of ${instance} runs any more: ${unit.node} ended it (${why})`);
    }
  }

  /** A write of a copy arrives at the resource, perhaps long after it was sent. */
  arrived(node: string, instance: InstanceId, text: string): void {
    this.note(() => this.judgeArrived(node, instance, text));
  }

  private judgeArrived(node: string, instance: InstanceId, text: string): void {
    const token = BigInt(text);
    const resource = this.resources.get(instance) ?? { highest: 0n, accepted: [] };
    this.resources.set(instance, resource);
    const owner = this.parts.etcd.parsed('owners', `instance/${instance}`);
    if (text !== '0' && this.tokens.get(`instance/${instance}`)?.issued.get(text) !== node) {
      fail('rule 11', `${node} wrote ${instance} with token ${text}, never given to it`);
    }
    const current = owner ? BigInt(tokenOf({ value: owner.value, revision: owner.entry.revision })) : 0n;
    if (token > current && current > 0n)
      fail('fenced state', `${node} wrote ${instance} with a token of the future`);
    if (token < resource.highest) {
      this.counts.staleAttempts++;
      return;
    }
    resource.highest = token;
    resource.accepted.push(token);
    this.counts.writesAccepted++;
  }

  /** Writes that a resource took under a lower token than one before. */
  staleAccepted(): number {
    const inversions = ({ accepted }: Resource): number =>
      accepted.filter((token, at) => at > 0 && token < (accepted[at - 1] ?? 0n)).length;
    return [...this.resources.values()].reduce((sum, resource) => sum + inversions(resource), 0);
  }

  /** After everything was healed and has had its time. Null = all is as it should be. */
  unfinished(wanted: WantedCopy[]): string | null {
    const { etcd, machines } = this.parts;
    const names = new Set(wanted.map(({ instance }) => instance));
    for (const machine of machines.values()) {
      const surplus = machine.living().find(unit => !names.has(unit.described.instance));
      if (surplus) return `${machine.name} still runs ${surplus.described.unit}, which nobody wants`;
    }
    for (const { instance, version } of wanted) {
      const copies = copiesOf(machines.values(), instance);
      if (copies.length !== 1) {
        return `${instance} has ${copies.length} copies (${copies.map(copy => copy.node).join(', ')})`;
      }
      const owner = etcd.parsed('owners', `instance/${instance}`)?.value;
      const [copy] = copies;
      if (!copy || owner?.node !== copy.node || owner.released !== null) {
        return `${instance} runs on ${copy?.node ?? 'no node'} and is owned by ${owner?.node ?? 'nobody'}`;
      }
      if (copy.described.version !== version)
        return `${instance} runs version ${copy.described.version}, not yet ${version}`;
      if (machines.get(copy.node)?.ready(copy) !== true) return `${instance} is not ready`;
      if (!etcd.entries.has(etcd.keys.key('sessions', `${owner.node}/${owner.incarnation}`))) {
        return `${instance} is owned by a session that is gone`;
      }
      const said = etcd.parsed('promises', `${copy.node}/running:${instance}`)?.value.promise.body;
      if (said?.kind !== 'running' || !said.ready)
        return `${copy.node} does not say that ${instance} is ready`;
    }
    for (const [subject, { value }] of etcd.contents('owners')) {
      if (value.mayStillRun.length > 0) return `${value.mayStillRun.join(', ')} may still run ${subject}`;
    }
    return null;
  }

  private taken(
    written: Written,
    by: string,
    subject: Subject,
    before: OwnerRecord | null,
    after: OwnerRecord,
  ): void {
    const { etcd, timeline, machines, strict } = this.parts;
    if (after.node !== by) fail('rule 1', `${by} took ${subject} for ${after.node}`);
    if (after.released !== null || after.token !== null)
      fail('rule 1', `${subject} was taken and released at once`);
    const own = etcd.keys.key('sessions', `${after.node}/${after.incarnation}`);
    if (!written.conditions.some(one => one.key === own && 'lease' in one)) {
      fail('rule 1', `${by} took ${subject} without comparing its own session key and lease`);
    }
    this.issue(subject, written.revision, by);
    const instance = instanceOfSubject(subject) ?? '';
    const elsewhere = copiesOf(machines.values(), instance).filter(copy => copy.node !== by);
    if (before === null) return;
    if (before.released === null) {
      const former = etcd.keys.key('sessions', `${before.node}/${before.incarnation}`);
      const gone = !etcd.entries.has(former);
      const compared = written.conditions.some(
        one => one.key === former && 'is' in one && one.is === 'absent',
      );
      const evidence = this.evidence(written, before, instance);
      if (!(gone && compared) && !evidence) {
        fail('rule 1', `${by} took ${subject} from ${before.node}, whose session is not known to be gone`);
      }
      if (evidence && !gone && after.exclusive === true) {
        fail('rule 12', `${by} took ${subject} on evidence, though it is exclusive`);
      }
      this.counts.takeovers++;
      const guarded = before.exclusive === true && after.exclusive === true;
      if (guarded && written.by) this.heldDown(written.by, subject, before, former);
      const named = after.mayStillRun.includes(before.node) || guarded || before.node === by;
      if (!named) fail('rule 8', `${by} took ${subject} and forgot that ${before.node} may still run it`);
    }
    const forgotten = before.mayStillRun.find(node => node !== by && !after.mayStillRun.includes(node));
    if (forgotten !== undefined) fail('rule 8', `${by} forgot that ${forgotten} may still run ${subject}`);
    const guarded = elsewhere.find(copy => copy.described.guarded === true);
    if (strict && guarded && after.exclusive === true) {
      fail('rule 5', `${by} took ${subject} while ${guarded.node} still runs it, at ${timeline.nowMs}`);
    }
  }

  /** A claim may arrive long after it was sent: whoever sent it had to have waited by then. */
  private heldDown(by: Sender, subject: Subject, before: OwnerRecord, former: string): void {
    const { etcd, machines } = this.parts;
    const machine = machines.get(by.node);
    if (!machine) return;
    if (before.node === by.node) {
      const lives = machine.living().some(unit => `instance/${unit.described.instance}` === subject);
      if (lives) fail('rule 3', `${by.node} took ${subject} anew while its former copy lives`);
      return;
    }
    const sinceMs = Math.max(etcd.goneMs.get(former) ?? -Infinity, by.bornMs);
    const waitedMs = (by.sentMs - sinceMs) * machine.clock.rate;
    if (waitedMs < before.ttlSeconds * 1000 - 1) {
      fail(
        'rule 3',
        `${by.node} took ${subject} ${Math.round(waitedMs)} ms after the session of ${before.node} was gone`,
      );
    }
  }

  /** Whether the transaction rests on what a majority of observers say, as it stands. */
  private evidence(written: Written, before: OwnerRecord, instance: InstanceId): boolean {
    const prefix = this.parts.etcd.keys.prefix('assessments', `${before.node}/running:${instance}/`);
    const said = written.conditions.filter(one => one.key.startsWith(prefix) && 'revision' in one);
    const agree = said.filter(one => {
      const entry = this.parts.etcd.entries.get(one.key);
      return entry && (JSON.parse(entry.text) as AssessmentRecord).assessment.unreachable === true;
    });
    return agree.length >= 2 && agree.length === said.length;
  }

  private released(
    by: string,
    subject: Subject,
    written: Written,
    before: OwnerRecord,
    after: OwnerRecord,
  ): void {
    if (before.node !== by || after.node !== by)
      fail('rule 10', `${by} released ${subject} of ${before.node}`);
    this.sameToken(subject, written, before, after);
    this.stopped('rule 10', by, subject, 'released');
  }

  private confirmed(
    by: string,
    subject: Subject,
    written: Written,
    before: OwnerRecord,
    after: OwnerRecord,
  ): void {
    const left = before.mayStillRun.filter(node => node !== by);
    const same =
      after.node === before.node &&
      after.incarnation === before.incarnation &&
      (after.released === null) === (before.released === null) &&
      JSON.stringify(after.mayStillRun) === JSON.stringify(left);
    if (!same) fail('rule 1', `${by} wrote ${subject} in a way that no rule allows`);
    this.sameToken(subject, written, before, after);
    this.stopped('rule 8', by, subject, 'confirmed to have stopped');
  }

  private sameToken(subject: Subject, written: Written, before: OwnerRecord, after: OwnerRecord): void {
    const was = tokenOf({ value: before, revision: written.before?.revision ?? 0n });
    if (after.token !== was) fail('tokens', `the token of ${subject} changed from ${was} without a taking`);
  }

  private stopped(rule: string, node: string, subject: Subject, what: string): void {
    const lives = this.parts.machines
      .get(node)
      ?.living()
      .find(unit => `instance/${unit.described.instance}` === subject);
    if (lives) fail(rule, `${node} ${what} ${subject} while ${lives.described.unit} lives`);
  }

  /** Found by another judge. */
  holdAgainst(violation: Violation): void {
    this.note(() => {
      throw violation;
    });
  }

  /** Kept, since whoever called may swallow what is thrown. */
  private note(look: () => void): void {
    try {
      look();
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      if (this.broken === null) this.parts.timeline.tell(`BROKEN ${error.message}`);
      this.broken ??= error;
    }
  }

  private issue(subject: Subject, token: bigint, node: string): void {
    const known = this.tokens.get(subject) ?? { last: 0n, issued: new Map<string, string>() };
    if (token <= known.last) fail('tokens', `the token of ${subject} went from ${known.last} to ${token}`);
    known.last = token;
    known.issued.set(String(token), node);
    this.tokens.set(subject, known);
  }
}

function compares(written: Written): boolean {
  const { key, before } = written;
  return written.conditions.some(one => {
    if (one.key !== key) return false;
    return before
      ? 'revision' in one && one.revision === before.revision
      : 'is' in one && one.is === 'absent';
  });
}

function parse(entry: KeyValue): OwnerRecord {
  return JSON.parse(entry.text) as OwnerRecord;
}

function fail(rule: string, message: string): never {
  throw new Violation(rule, message);
}
