import type { StepResult } from '../model/plan.ts';
import type { Blobs } from '../ports/blobs.ts';
import type { StepAgent, StepAgentRoster, StepTask } from '../ports/step-agents.ts';
import { failureOf } from './step-failure.ts';
import { checkPayloadFrom, takesPayload, withoutPayloadFrom, withPayload } from './step-inputs.ts';

interface Offer {
  agent: StepAgent;
  room: () => number;
}

/**
 * This node's own agents of steps, which take as much as the node does, and those that come and go. To all of them the
 * argument `payload-from` hands another step's output as the payload, so that none has to know of it.
 */
export function stepAgents(
  own: readonly StepAgent[],
  /** `reserved` = names of agents that are not here to be found, and that nobody else may have. */
  { blobs, reserved = [] }: { blobs: Blobs; reserved?: readonly string[] },
): StepAgentRoster {
  const ownNames = new Set([...own.map(({ name }) => name), ...reserved]);
  const offers: Offer[] = own.map(agent => ({ agent, room: () => Infinity }));
  const listeners = new Set<() => void>();
  /** Names of what has been given to nobody yet, because its payload is still on its way. */
  const preparing: string[] = [];

  return {
    find(name) {
      const [first] = offersOf(name);
      if (first === undefined) return null;
      return {
        name,
        check: (work, given) => [
          ...checkPayloadFrom(work, given),
          ...first.agent.check(withoutPayloadFrom(work), given),
        ],
        isForOthers: work => first.agent.isForOthers?.(work) === true,
        run: (task, signal) => run(name, task, signal),
      };
    },
    names: () => [...new Set(offers.map(({ agent }) => agent.name))].sort(),
    room: roomFor,
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
    try {
      // Given at once where it can be: then its agent knows of it before anybody asks for its room again.
      const given = takesPayload(task.work) ? await prepared(name, task, signal) : task;
      return await give(name, given, signal);
    } catch (error) {
      return failureOf(error);
    }
  }

  async function prepared(name: string, task: StepTask, signal: AbortSignal): Promise<StepTask> {
    preparing.push(name);
    try {
      return await withPayload(task, blobs, signal);
    } finally {
      preparing.splice(preparing.indexOf(name), 1);
    }
  }

  function give(name: string, task: StepTask, signal: AbortSignal): Promise<StepResult> {
    // Whoever asked for its room may have been overtaken.
    const [offer] = offersOf(name).sort((a, b) => b.room() - a.room());
    if (offer === undefined) throw new Error(`no agent "${name}" is connected to this node any more`);
    if (offer.room() === 0) throw new Error(`every agent "${name}" of this node is busy`);
    return offer.agent.run(task, signal);
  }

  function roomFor(name: string): number {
    const offered = offersOf(name).reduce((sum, { room }) => sum + room(), 0);
    return Math.max(0, offered - preparing.filter(other => other === name).length);
  }

  function offersOf(name: string): Offer[] {
    return offers.filter(({ agent }) => agent.name === name);
  }

  function tell(): void {
    for (const listener of listeners) listener();
  }
}
