import { suggestion } from '../manifest/nearest.ts';
import { processOf } from '../model/app-spec.ts';
import { instanceOfSubject, parseInstanceId, subjectOfInstance } from '../model/ids.ts';
import { AGENT_NAME, agentOfSubject } from '../model/named-agents.ts';
import type { Explanation, InstanceView, PromiseView } from '../model/views.ts';
import { AdminError } from '../ports/admin.ts';
import { noSuchType } from './app-changes.ts';
import type { Crowd } from './crowd.ts';
import { leftover } from './evidence.ts';
import { explainName, type ExplainNameOptions } from './names/explain-name.ts';
import { rankedAnew } from './ranked-anew.ts';
import { instanceViews, promiseViews } from './views.ts';
import { placementInputs, wantedOrWhyNot, type HeldDown } from './wanted.ts';
import type { World } from './world.ts';

interface ExplainOptions {
  /** How long an exclusive subject without an owner must still be left alone. */
  heldDown: HeldDown;
  crowd: Crowd;
  names: ExplainNameOptions;
}

/** Why an instance is where it is, how a promise is judged, or how a name stands. @throws AdminError */
export function explain(world: World, target: string, options: ExplainOptions): Explanation {
  const promise = promiseViews(world).find(view => `${view.promiser}/${view.name}` === target);
  if (promise) {
    return {
      about: target,
      summary: `${promise.name} of ${promise.promiser} is ${promise.outcome}`,
      lines: [
        `promised to ${promise.promisee} at ${promise.madeAt}`,
        ...portLines(promise),
        `observed by ${promise.observers.join(', ') || 'nobody: no other node is there'}`,
        ...promise.assessments.map(
          ({ assessor, outcome, evidence, at }) => `${assessor} says ${outcome}: ${evidence} (${at})`,
        ),
      ],
      ranking: null,
    };
  }
  const name = agentOfSubject(target);
  if (name !== null && AGENT_NAME.test(name)) return explainName(world, name, options.names);
  const instance = instanceOfSubject(target) ?? target;
  const known = instanceViews(world).find(view => view.instance === instance);
  if (!known) throw unknown(world, target, instance);
  return explainInstance(world, known, options);
}

/** With the first of its words that nobody knows. */
function unknown(world: World, target: string, instance: string): AdminError {
  const [, app, type] = /^([^/]+)\/([^/]+)\/\d+$/.exec(instance) ?? [];
  if (app === undefined || type === undefined) {
    return new AdminError(
      'not-found',
      `"${target}" is neither an instance (APP/TYPE/N), a named agent (agent/NAME) nor a promise (NODE/NAME)`,
    );
  }
  const apps = world.apps.all().flatMap(({ value }) => (value.removing ? [] : [value]));
  const spec = apps.find(record => record.app === app)?.spec;
  if (spec === undefined) {
    const names = apps.map(record => record.app);
    const hint = suggestion(app, names);
    return new AdminError('not-found', `there is no app "${app}"`, hint === null ? {} : { hint });
  }
  const process = processOf(spec, type);
  const types = spec.processes.map(other => other.type);
  if (!process) return noSuchType(app, type, types);
  return new AdminError('not-found', `"${type}" of "${app}" is scaled to ${process.scale}`);
}

function portLines({ body, promiser }: PromiseView): string[] {
  const ports = body.kind === 'running' ? (body.ports ?? []) : [];
  return ports.map(port => `has port ${port} of ${promiser}`);
}

function explainInstance(world: World, view: InstanceView, { heldDown, crowd }: ExplainOptions): Explanation {
  const subject = subjectOfInstance(view.instance);
  const inputs = placementInputs(world, heldDown, crowd.unsteady());
  const wanted = wantedOrWhyNot(world, parseable(view.instance));
  const lines: string[] = [];
  if ('notWanted' in wanted) lines.push(`not wanted: ${wanted.notWanted}`);
  else lines.push(`wanted at release ${wanted.release} of "${wanted.record.app}"`);
  if (view.node !== null) {
    const says = view.state === 'unknown' ? '' : `; it says: ${view.state}`;
    lines.push(`owned by ${view.node} with token ${view.token ?? 'none'}${says}`);
  } else lines.push(`owned by nobody: ${view.trouble ?? 'never taken'}`);
  const held = inputs.heldDown.find(({ instance }) => instance === view.instance);
  if (held) {
    const seconds = (held.forMs / 1000).toFixed(1);
    lines.push(`held down: where it ran last it may not be dead before ${seconds} s from now`);
  }
  lines.push(...whyNotTaken(world, view.instance));
  const brake = crowd.brake();
  if (view.node === null && brake.reason !== null) lines.push(`the brake is on: ${brake.reason}`);
  if (view.mayStillRun.length > 0) lines.push(`may still run on ${view.mayStillRun.join(', ')}`);
  if (view.node !== null && view.trouble !== null) lines.push(view.trouble);
  if ('notWanted' in wanted)
    return { about: subject, summary: `${view.instance} is ${view.state}`, lines, ranking: null };
  const ranking = rankedAnew(world, inputs, wanted, view.node === null ? [] : [view.node]);
  return {
    about: subject,
    summary: `${view.instance} is ${view.state}${view.node === null ? '' : ` on ${view.node}`}`,
    lines,
    ranking: ranking ? { candidates: ranking.candidates, excluded: ranking.excluded } : null,
  };
}

/** Of what a node had whose session is gone. */
function whyNotTaken(world: World, instance: string): string[] {
  const owner = world.owners.get(subjectOfInstance(instance));
  const wanted = wantedOrWhyNot(world, parseable(instance));
  if (!owner || 'notWanted' in wanted || world.sessionLives(owner)) return [];
  const { node } = owner.value;
  switch (leftover(world, owner, wanted)) {
    case 'answers':
      return [
        `${node} is cut off from the store, and it still answers: it stays there until ${node} is back`,
      ];
    case 'asked':
      return [`the observers of ${node} are asked whether it still answers`];
    case 'free':
      return [];
  }
}

function parseable(instance: string): string {
  parseInstanceId(instance);
  return instance;
}
