import type { StepResult } from '../model/plan.ts';
import type { StepAgent, StepAgentRoster, StepTask } from '../ports/step-agents.ts';

interface Offer {
  agent: StepAgent;
  room: () => number;
}

/** This node's own agents of steps, which take as much as the node does, and those that come and go. */
export function stepAgents(own: readonly StepAgent[]): StepAgentRoster {
  const ownNames = new Set(own.map(({ name }) => name));
  const offers: Offer[] = own.map(agent => ({ agent, room: () => Infinity }));
  const listeners = new Set<() => void>();

  return {
    find(name) {
      const [first] = offersOf(name);
      if (first === undefined) return null;
      return { name, check: work => first.agent.check(work), run: (task, signal) => run(name, task, signal) };
    },
    names: () => [...new Set(offers.map(({ agent }) => agent.name))].sort(),
    room: name => offersOf(name).reduce((sum, { room }) => sum + room(), 0),
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    add(agent, room) {
      if (ownNames.has(agent.name)) return null;
      const offer: Offer = { agent, room };
      offers.push(offer);
      tell();
      return {
        changed: tell,
        withdraw() {
          const place = offers.indexOf(offer);
          if (place === -1) return;
          offers.splice(place, 1);
          tell();
        },
      };
    },
  };

  async function run(name: string, task: StepTask, signal: AbortSignal): Promise<StepResult> {
    // Whoever asked for its room may have been overtaken.
    const [offer] = offersOf(name).sort((a, b) => b.room() - a.room());
    if (offer === undefined) return failed(`no agent "${name}" is connected to this node any more`);
    if (offer.room() === 0) return failed(`every agent "${name}" of this node is busy`);
    try {
      return await offer.agent.run(task, signal);
    } catch (error) {
      return failed(error instanceof Error ? error.message : String(error));
    }
  }

  function offersOf(name: string): Offer[] {
    return offers.filter(({ agent }) => agent.name === name);
  }

  function tell(): void {
    for (const listener of listeners) listener();
  }
}

function failed(error: string): StepResult {
  return { kind: 'failed', type: 'RETRYABLE', error };
}
