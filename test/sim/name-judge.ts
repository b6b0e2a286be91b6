import { History } from '../faults/history.ts';
import { subjectOfAgent, type AgentName } from '../../src/model/named-agents.ts';
import { tokenOf, type AgentStateRecord } from '../../src/model/records.ts';
import type { SimEtcd, Written } from './etcd.ts';
import { Violation } from './judge.ts';
import type { Program } from './programs.ts';
import type { Timeline } from './timeline.ts';

export interface NameJudgeParts {
  timeline: Timeline;
  etcd: SimEtcd;
  /** Clock rates within the margin and no suspended host: what is not fenced is judged as well. */
  strict: boolean;
  /** Reads of etcd may be of the past: then nothing can be said of what programs read. */
  staleReads: boolean;
  broken: (violation: Violation) => void;
}

/** Judges what programs do under names: one at a time, states under the token in force, nothing acknowledged lost, and no read of the past. */
export class NameJudge {
  readonly counts = { nameGrants: 0, nameStaleAttempts: 0, statesWritten: 0, statesRead: 0 };
  private readonly parts: NameJudgeParts;
  /** By name, in the order in which they were written. */
  private readonly states = new Map<AgentName, string[]>();
  private readonly acting = new Map<AgentName, { program: Program; token: string }>();
  private readonly highest = new Map<AgentName, bigint>();
  private readonly grantedMs = new Map<AgentName, number>();
  /** By name, as the programs saw it. */
  private readonly histories = new Map<AgentName, History>();

  constructor(parts: NameJudgeParts) {
    this.parts = parts;
  }

  /** A program has the right to act at this moment. */
  acted(program: Program, name: AgentName, token: string): void {
    const last = this.acting.get(name);
    this.acting.set(name, { program, token });
    if (last?.program === program && last.token === token) return;
    this.counts.nameGrants++;
    this.grantedMs.set(name, this.parts.timeline.nowMs);
    const lower = last && BigInt(token) < BigInt(last.token);
    if (lower && this.parts.strict)
      this.fail('tokens', `${program.label} acts as ${name} with token ${token} after ${last.token}`);
    if (last && last.program !== program && last.program.acts() && this.parts.strict)
      this.fail('at most one', `${program.label} acts as ${name}, and so does ${last.program.label}`);
  }

  /** Each write of a state, at the moment it is made. */
  written({ key, after, by }: Written): void {
    const prefix = this.parts.etcd.keys.prefix('agents');
    if (!key.startsWith(prefix) || !after) return;
    const name = key.slice(prefix.length);
    const { state, token, node } = JSON.parse(after.text) as AgentStateRecord;
    const owner = this.parts.etcd.parsed('owners', subjectOfAgent(name));
    const inForce =
      owner?.value.released === null
        ? tokenOf({ value: owner.value, revision: owner.entry.revision })
        : 'none';
    if (token !== inForce || owner?.value.node !== node || by?.node !== node)
      this.fail(
        'rule 4',
        `${by?.node ?? 'etcd'} wrote the state of ${name} under ${token}, in force is ${inForce}`,
      );
    this.states.set(name, [...(this.states.get(name) ?? []), String(state)]);
    this.counts.statesWritten++;
  }

  acknowledged(name: AgentName, state: string, startMs: number): void {
    this.history(name).written(state, startMs, this.parts.timeline.nowMs);
    if (this.states.get(name)?.includes(state) !== true)
      this.fail('acknowledged', `the state "${state}" of ${name} was acknowledged and never written`);
  }

  unanswered(name: AgentName, state: string, startMs: number): void {
    this.history(name).unanswered(state, startMs);
  }

  read(name: AgentName, state: string | null, startMs: number): void {
    if (this.parts.staleReads) return;
    this.history(name).read(state, startMs, this.parts.timeline.nowMs);
    this.counts.statesRead++;
  }

  /** Once all is over: whether each name was one register to all its programs, whatever node they asked. */
  judgeHistories(): void {
    for (const [name, history] of this.histories) {
      const wrong = history.trouble();
      if (wrong) this.fail('linearizable', `the state of ${name} is not, at ${JSON.stringify(wrong)}`);
    }
  }

  /** A write arrives at something that compares tokens. */
  arrived(node: string, name: AgentName, text: string): void {
    const token = BigInt(text);
    const highest = this.highest.get(name) ?? 0n;
    const owner = this.parts.etcd.parsed('owners', subjectOfAgent(name));
    const current = owner ? BigInt(tokenOf({ value: owner.value, revision: owner.entry.revision })) : 0n;
    if (token > current) this.fail('fenced state', `${node} wrote as ${name} with a token of the future`);
    if (token < highest) this.counts.nameStaleAttempts++;
    else this.highest.set(name, token);
  }

  /** Names that nobody has been given since a moment, though programs ask for them all the time. Null = none. */
  unfinished(names: readonly AgentName[], sinceMs: number): string | null {
    const idle = names.find(name => (this.grantedMs.get(name) ?? -Infinity) <= sinceMs);
    return idle === undefined ? null : `nobody has been given ${idle}`;
  }

  private history(name: AgentName): History {
    const known = this.histories.get(name) ?? new History();
    this.histories.set(name, known);
    return known;
  }

  private fail(rule: string, message: string): void {
    this.parts.broken(new Violation(rule, message));
  }
}
