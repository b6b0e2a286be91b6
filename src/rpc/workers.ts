import { status } from '@grpc/grpc-js';
import type { Log } from '../ports/log.ts';
import type { Random } from '../ports/random.ts';
import type { StepAgent, StepAgentOffer, StepAgentRoster } from '../ports/step-agents.ts';
import type { Hello } from './read-work.ts';
import { RpcRefusal } from './refusal.ts';
import { RemoteWorker, type WorkerLink, type WorkerParts } from './worker.ts';

interface WorkersParts extends WorkerParts {
  node: string;
  /** Where they are offered. */
  roster: StepAgentRoster;
  random: Random;
  log: Log;
}

const MOST_WORKERS = 1000;

/** The programs that are connected to this node to do steps, each offered under every name it has. */
export class Workers {
  readonly #parts: WorkersParts;
  readonly #bySession = new Map<string, RemoteWorker>();
  /** Why nothing more is assigned; null = it is. */
  #draining: string | null = null;

  constructor(parts: WorkersParts) {
    this.#parts = parts;
  }

  /** How many are connected, or waited for. */
  get size(): number {
    return this.#bySession.size;
  }

  /**
   * A worker says hello on a stream. With a session that is known it goes on with what it has, also when its last stream has not
   * been seen to break. @throws RpcRefusal
   */
  greet(hello: Hello, link: WorkerLink): RemoteWorker {
    if (this.#draining !== null) throw new RpcRefusal(status.UNAVAILABLE, this.#draining);
    const worker = this.#bySession.get(hello.session) ?? this.#enlist(hello);
    const { node, times } = this.#parts;
    const { silenceMs, resumeMs } = times;
    link.send({ welcome: { session: worker.session, node, silenceMs, resumeMs } });
    worker.join(link, hello.running);
    return worker;
  }

  /** Assigns nothing more, and asks them to go elsewhere when they are done. */
  drain(reason: string, withinMs: number): void {
    this.#draining = reason;
    for (const worker of this.#bySession.values()) {
      worker.leave();
      worker.send({ drain: { remainingMs: withinMs, reason } });
    }
  }

  /** Whatever they do has failed. */
  close(): void {
    for (const worker of [...this.#bySession.values()]) worker.end('this node stopped');
  }

  #enlist(hello: Hello): RemoteWorker {
    const { roster, random, log } = this.#parts;
    if (this.size >= MOST_WORKERS) {
      throw new RpcRefusal(
        status.RESOURCE_EXHAUSTED,
        `${MOST_WORKERS} workers are connected here: try another node`,
      );
    }
    const { name, agents, slots } = hello;
    const offers: StepAgentOffer[] = [];
    const session = random.hex(16);
    const worker = new RemoteWorker(session, hello, this.#parts, {
      changed: () => offers.forEach(offer => offer.changed()),
      gone: () => {
        this.#bySession.delete(session);
        offers.forEach(offer => offer.withdraw());
        log.info('a worker is gone', { worker: name });
      },
    });
    for (const agent of agents) {
      const offer = roster.add(agentOf(agent, worker), () => worker.room);
      if (offer === null) {
        offers.forEach(each => each.withdraw());
        throw new RpcRefusal(
          status.ALREADY_EXISTS,
          `this node is the agent "${agent}" itself: choose another name`,
        );
      }
      offers.push(offer);
    }
    this.#bySession.set(session, worker);
    log.info('a worker is connected', { worker: name, agents, slots });
    return worker;
  }
}

/** What its steps need is known to the worker alone. */
function agentOf(name: string, worker: RemoteWorker): StepAgent {
  return { name, check: () => [], run: (task, signal) => worker.run(name, task, signal) };
}
