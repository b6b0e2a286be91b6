import type { AgentName, NameAnswer } from '../../src/model/named-agents.ts';
import { AdminError } from '../../src/ports/admin.ts';
import type { NamedAgents } from '../../src/ports/named-agents.ts';
import type { Chance } from './chance.ts';
import type { SimNode } from './node.ts';
import type { NameJudge } from './name-judge.ts';
import type { Timeline } from './timeline.ts';

/** Shorter and longer than a lease: either may be what ends a program's right. */
const TTLS_SECONDS = [6, 40];
/** A program that gets no answer asks again. */
const PATIENCE_MS = 5000;
const LOCAL_MS = 20;

export interface ProgramParts {
  name: AgentName;
  holder: string;
  node: SimNode;
  timeline: Timeline;
  chance: Chance;
  judge: NameJudge;
}

/** Its right to act on its name, by the clock of its own machine. */
interface Right {
  token: string;
  untilMs: number;
}

/**
 * A program that shares a name with others, through the agent of its machine, and keeps to what deploy/named-agents.md asks of
 * it: it repeats its request under its token, and acts only for as long as the last answer is good for.
 */
export class Program {
  private readonly parts: ProgramParts;
  private right: Right | null = null;
  private writes = 0;
  private readonly ttlSeconds: number;

  constructor(parts: ProgramParts) {
    this.parts = parts;
    this.ttlSeconds = parts.chance.pick(TTLS_SECONDS);
  }

  get label(): string {
    return `${this.parts.holder} on ${this.parts.node.name}`;
  }

  /** Whether it would act at this moment. */
  acts(): boolean {
    const { machine } = this.parts.node;
    return machine.on && this.right !== null && machine.clock.now() < this.right.untilMs;
  }

  start(): void {
    const { timeline, chance } = this.parts;
    const next = (): void => {
      void this.turn().finally(() => timeline.after(chance.between(100, 1500), next));
    };
    timeline.after(chance.between(0, 3000), next);
  }

  private async turn(): Promise<void> {
    const { chance, node } = this.parts;
    if (!node.machine.on) this.right = null;
    if (!node.machine.on || node.machine.suspended) return;
    if (this.right === null) await this.ask(null);
    else if (chance.happens(0.15)) await this.release(this.right.token);
    else if (chance.happens(0.5)) await this.write(this.right.token);
    else await this.ask(this.right.token);
  }

  private async ask(token: string | null): Promise<void> {
    const { name, holder, node, chance, judge } = this.parts;
    const sentMs = node.machine.clock.now();
    const boots = node.machine.boots;
    const wait = chance.happens(0.8);
    const answer = await this.call<NameAnswer>(names =>
      names.request(
        name,
        { holder, wait, waitSeconds: 3, ttlSeconds: this.ttlSeconds, token },
        new AbortController().signal,
      ),
    );
    if (answer === 'refused') this.right = null;
    if (typeof answer === 'string' || node.machine.boots !== boots) return;
    if (answer.state !== 'Assigned' || answer.token === null || answer.validForMs === null) return;
    this.right = { token: answer.token, untilMs: sentMs + answer.validForMs };
    if (this.acts()) judge.acted(this, name, answer.token);
    this.send(answer.token);
  }

  /** It has stopped acting before it gives back. */
  private async release(token: string): Promise<void> {
    const { name, holder } = this.parts;
    this.right = null;
    await this.call(names => names.release(name, holder, token));
  }

  private async write(token: string): Promise<void> {
    const { name, holder, judge, timeline } = this.parts;
    if (!this.acts()) return;
    judge.acted(this, name, token);
    const state = `${this.label} ${++this.writes}`;
    const startMs = timeline.nowMs;
    const written = await this.call(names => names.putState(name, { holder, token, state }));
    if (written === 'refused') this.right = null;
    else if (written === 'nothing') judge.unanswered(name, state, startMs);
    else judge.acknowledged(name, state, startMs);
  }

  /** Something else that it writes to, which takes its time. */
  private send(token: string): void {
    const { name, node, timeline, chance, judge } = this.parts;
    timeline.after(chance.delayMs(50, 12_000, 0.2), () => judge.arrived(node.name, name, token));
  }

  private call<T>(act: (names: NamedAgents) => Promise<T>): Promise<T | 'refused' | 'nothing'> {
    return asked(this.parts, act);
  }
}

/** Looks at the state of a name again and again, through the agent of its machine. */
export function startReader(parts: Omit<ProgramParts, 'holder'>): void {
  const { name, timeline, chance, judge } = parts;
  const look = async (): Promise<void> => {
    const startMs = timeline.nowMs;
    const found = await asked(parts, names => names.state(name));
    if (typeof found !== 'string') judge.read(name, found === null ? null : String(found.state), startMs);
  };
  const next = (): void => {
    void look().finally(() => timeline.after(chance.between(50, 800), next));
  };
  timeline.after(chance.between(0, 3000), next);
}

/** `nothing` = no answer, or none that says how it is. */
function asked<T>(
  { node, timeline }: Pick<ProgramParts, 'node' | 'timeline'>,
  act: (names: NamedAgents) => Promise<T>,
): Promise<T | 'refused' | 'nothing'> {
  const { agent, life, machine } = node;
  if (!agent || !life || machine.suspended) return Promise.resolve('nothing');
  return new Promise(resolve => {
    timeline.after(PATIENCE_MS, () => resolve('nothing'));
    life
      .call(() => act(agent.names), LOCAL_MS)
      .then(resolve, (error: unknown) => {
        resolve(error instanceof AdminError && error.kind === 'conflict' ? 'refused' : 'nothing');
      });
  });
}
