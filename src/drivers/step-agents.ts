import type { StepResult } from '../model/plan.ts';
import type { StepAgent, StepAgentRoster, StepTask } from '../ports/step-agents.ts';

interface Offer {
  agent: StepAgent;
  slots: number;
  busy: number;
}

/** This node's own agents of steps, which take as much as the node does, and those that come and go. */
export function stepAgents(own: readonly StepAgent[]): StepAgentRoster {
  const ownNames = new Set(own.map(({ name }) => name));
  const offers: Offer[] = own.map(agent => ({ agent, slots: Infinity, busy: 0 }));
  const listeners = new Set<() => void>();

  return {
    find(name) {
      const [first] = offersOf(name);
      if (first === undefined) return null;
      return { name, check: work => first.agent.check(work), run: (task, signal) => run(name, task, signal) };
    },
    names: () => [...new Set(offers.map(({ agent }) => agent.name))].sort(),
    room: name => offersOf(name).reduce((sum, offer) => sum + roomOf(offer), 0),
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    add(agent, { slots }) {
      if (ownNames.has(agent.name)) return null;
      const offer: Offer = { agent, slots, busy: 0 };
      offers.push(offer);
      tell();
      return () => {
        const place = offers.indexOf(offer);
        if (place === -1) return;
        offers.splice(place, 1);
        tell();
      };
    },
  };

  async function run(name: string, task: StepTask, signal: AbortSignal): Promise<StepResult> {
    // Whoever asked for its room may have been overtaken.
    const [offer] = offersOf(name).sort((a, b) => roomOf(b) - roomOf(a));
    if (offer === undefined) return failed(`no agent "${name}" is connected to this node any more`);
    if (roomOf(offer) === 0) return failed(`every agent "${name}" of this node is busy`);
    offer.busy += 1;
    try {
      return await offer.agent.run(task, signal);
    } catch (error) {
      return failed(error instanceof Error ? error.message : String(error));
    } finally {
      offer.busy -= 1;
      if (Number.isFinite(offer.slots)) tell();
    }
  }

  function offersOf(name: string): Offer[] {
    return offers.filter(({ agent }) => agent.name === name);
  }

  function tell(): void {
    for (const listener of listeners) listener();
  }
}

function roomOf({ slots, busy }: Offer): number {
  return Math.max(0, slots - busy);
}

function failed(error: string): StepResult {
  return { kind: 'failed', type: 'RETRYABLE', error };
}
