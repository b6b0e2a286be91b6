import type { StepAgent, StepAgents } from '../../ports/step-agents.ts';

const none: StepAgents = {
  find: () => null,
  names: () => [],
  room: () => 0,
  onChange: () => () => undefined,
};

/**
 * What a node does steps by: what it has from elsewhere (null = nothing), and beside that the agent's own. Their names are told only
 * when anybody may name them in a plan.
 */
export function withOwn(
  others: StepAgents | null,
  own: readonly StepAgent[],
  areOffered: boolean,
): StepAgents {
  const elsewhere = others ?? none;
  const ownNamed = (name: string): StepAgent | null => own.find(agent => agent.name === name) ?? null;
  return {
    find: name => ownNamed(name) ?? elsewhere.find(name),
    names: () => [...elsewhere.names(), ...(areOffered ? own.map(({ name }) => name) : [])].sort(),
    room: name => (ownNamed(name) === null ? elsewhere.room(name) : Infinity),
    onChange: listener => elsewhere.onChange(listener),
  };
}
