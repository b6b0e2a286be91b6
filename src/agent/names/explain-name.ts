import { subjectOfAgent, type AgentName, type AgentView } from '../../model/named-agents.ts';
import type { Explanation, NodeView } from '../../model/views.ts';
import type { Entry } from '../../ports/store.ts';
import { factsOf } from './named-agents-views.ts';
import type { World } from '../world.ts';

export interface ExplainNameOptions {
  /** Who answers. */
  node: string;
  /** As the node that answers sees it. */
  agent: (name: AgentName) => AgentView;
  /** How long a name must still be left alone. */
  untilFreeMs: (owner: Entry<'owners'> | undefined) => number;
  nodes: () => NodeView[];
}

/** How a name stands, in the words of the three machines: the name's, the requests' and its owner's node's. */
export function explainName(world: World, name: AgentName, options: ExplainNameOptions): Explanation {
  const view = options.agent(name);
  const { owner } = factsOf(world, name, []);
  const who = view.owner === null ? '' : ` to ${view.holder ?? 'nobody'} on ${view.owner}`;
  return {
    about: subjectOfAgent(name),
    summary: `${name} is ${view.state}${who}`,
    lines: [
      ...standingLines(view),
      ...(owner === undefined ? [] : nodeLines(owner.value.node, view, options.nodes())),
      ...heldDownLines(view, options.untilFreeMs(owner)),
      ...waiterLines(view),
      ...view.requests.map(
        ({ holder, state, since, reason }) =>
          `asked for at ${options.node} by ${holder}: ${state} since ${since}: ${reason}`,
      ),
    ],
    ranking: null,
  };
}

function standingLines({ state, token, since, reason, validForMs }: AgentView): string[] {
  if (state !== 'Assigned') return [`owned by nobody: ${reason}`];
  return [
    `owned with token ${token ?? 'none'} since ${since === null || since === '' ? 'an unknown time' : since}`,
    ...(validForMs === null
      ? []
      : [`its holder may act on it for ${seconds(validForMs)}, and longer if it is heard again`]),
  ];
}

/** Of the node that has it, or had it last. */
function nodeLines(node: string, { state }: AgentView, nodes: NodeView[]): string[] {
  const standing = nodes.find(({ name }) => name === node)?.state ?? 'gone';
  return [state === 'Assigned' ? `${node} is ${standing}` : `${node}, which had it last, is ${standing}`];
}

function heldDownLines({ state }: AgentView, forMs: number): string[] {
  if (state === 'Assigned' || forMs <= 0) return [];
  return [`held down: what had it last may not be dead before ${seconds(forMs)} from now`];
}

function waiterLines({ waiters }: AgentView): string[] {
  if (waiters.length === 0) return ['nobody waits for it'];
  return waiters.map(
    ({ holder, node, since }, index) => `${index + 1}. in line: ${holder} on ${node}, since ${since}`,
  );
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
