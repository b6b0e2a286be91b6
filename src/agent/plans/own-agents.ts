import type { StepAgent, StepAgents } from '../../ports/step-agents.ts';

const none: StepAgents = {
  find: () => null,
  names: () => [],
  room: () => 0,
  onChange: () => () => undefined,
};

/**
 * What a node does steps by: those that anybody may name in a plan (null = it has none), and beside them the agent's own, which
 * are offered to nobody.
 */
export function withOwn(offered: StepAgents | null, own: readonly StepAgent[]): StepAgents {
  const others = offered ?? none;
  const ownNamed = (name: string): StepAgent | null => own.find(agent => agent.name === name) ?? null;
  return {
    find: name => ownNamed(name) ?? others.find(name),
    names: () => others.names(),
    room: name => (ownNamed(name) === null ? others.room(name) : Infinity),
    onChange: listener => others.onChange(listener),
  };
}
