import { Chance } from './chance.ts';
import { SimEtcd } from './etcd.ts';
import { Judge } from './judge.ts';
import { Machine, type SimUnit, type UnitHabits } from './machine.ts';
import { NameJudge } from './name-judge.ts';
import { SimNode } from './node.ts';
import { Timeline } from './timeline.ts';

export interface SimOptions {
  seed: number;
  nodes: number;
  ttlSeconds: number;
  /** etcd 3.4.23: stale reads after a pause, renewals of leases that are gone. */
  staleReads: boolean;
  /** The slowest and the fastest clock. */
  rates: [number, number];
  strict: boolean;
  storeOnly: boolean;
  keepTrace: boolean;
}

/** A cluster of machines in one simulated world. */
export class SimCluster {
  readonly options: SimOptions;
  readonly timeline: Timeline;
  readonly chance: Chance;
  readonly etcd: SimEtcd;
  readonly judge: Judge;
  readonly nameJudge: NameJudge;
  readonly nodes: SimNode[] = [];
  /** Copies crash by themselves, start slowly, and do not heed SIGTERM, each with this probability. */
  troubleProbability = 0;

  constructor(options: SimOptions) {
    this.options = options;
    this.timeline = new Timeline({ keep: options.keepTrace });
    this.chance = new Chance(options.seed);
    this.etcd = new SimEtcd(this.timeline);
    const machines = new Map<string, Machine>();
    this.judge = new Judge({
      timeline: this.timeline,
      etcd: this.etcd,
      machines,
      strict: options.strict,
      storeOnly: options.storeOnly,
    });
    this.nameJudge = new NameJudge({
      timeline: this.timeline,
      etcd: this.etcd,
      strict: options.strict,
      staleReads: options.staleReads,
      broken: violation => this.judge.holdAgainst(violation),
    });
    this.etcd.onWritten = written => {
      this.judge.written(written);
      this.nameJudge.written(written);
    };
    for (let number = 1; number <= options.nodes; number++) {
      const name = `node-${number}`;
      const machine = new Machine({
        name,
        timeline: this.timeline,
        chance: this.chance,
        rate: this.chance.between(...options.rates),
        habits: () => this.habits(),
        troubled: () => this.troubleProbability > 0,
        onStarted: unit => {
          this.judge.started(unit);
          this.write(unit);
        },
        onEnded: (unit, why) => this.judge.ended(unit, why),
      });
      machines.set(name, machine);
      this.nodes.push(new SimNode(this, name, number, machine));
    }
  }

  node(name: string): SimNode | undefined {
    return this.nodes.find(node => node.name === name);
  }

  at(address: string): SimNode | undefined {
    return this.nodes.find(node => node.address === address);
  }

  private habits(): UnitHabits {
    const { chance, troubleProbability } = this;
    const crashes = chance.happens(troubleProbability / 2);
    return {
      readyAfterMs: chance.delayMs(300, 4000, 0.1),
      ignoresTerm: chance.happens(troubleProbability),
      endsAfterMs: crashes ? chance.between(100, 20_000) : null,
    };
  }

  /** What a copy does: it writes to a resource now and then, under the token it has, and some writes are long on their way. */
  private write(unit: SimUnit): void {
    const { timeline, chance, judge } = this;
    timeline.after(chance.between(500, 2500), () => {
      if (unit.described.exit !== null) return;
      const { token, node } = unit;
      const { instance } = unit.described;
      if (token !== null) {
        const arriving = (): void => judge.arrived(node, instance, token);
        timeline.after(chance.delayMs(50, 12_000, 0.2), arriving);
      }
      this.write(unit);
    });
  }
}
