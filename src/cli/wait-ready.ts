import type { AppView, InstanceView } from '../model/views.ts';
import type { CommandContext } from './context.ts';
import { CliFailure, EXIT } from './failure.ts';
import { tail } from './words.ts';

const LOOK_EVERY_MS = 500;
/** In a log. */
const TOLD_AFTER_MS = 5000;

/** What has to be so of one app before the waiting is over. */
interface Goal {
  app: string;
  /** Whether this instance is the one that is waited for, not the one it replaces. */
  wanted: (instance: InstanceView) => boolean;
  /** The release that is waited for: another in its place is a failure. Absent = whichever is wanted. */
  release?: { number: number; orLater: boolean };
}

/**
 * Until every wanted instance of these apps runs at least that release and is ready.
 * @throws CliFailure (deploy failed) when an instance has been given up, or after `timeoutSeconds`
 */
export function waitUntilReady(
  context: CommandContext,
  releases: { app: string; release: number }[],
  timeoutSeconds: number,
): Promise<void> {
  const goals = releases.map(({ app, release }) => ({
    app,
    wanted: (instance: InstanceView) => (instance.release ?? 0) >= release,
    release: { number: release, orLater: true },
  }));
  return waitFor(context, goals, timeoutSeconds);
}

/** Until every wanted instance runs the release that was gone back to, and is ready. @throws CliFailure as above */
export function waitUntilBack(
  context: CommandContext,
  { app, release }: AppView,
  timeoutSeconds: number,
): Promise<void> {
  const wanted = (instance: InstanceView) => instance.release === release;
  return waitFor(context, [{ app, wanted, release: { number: release, orLater: false } }], timeoutSeconds);
}

/** Until every instance in `before` runs another version than it did then. @throws CliFailure as above */
export function waitUntilReplaced(
  context: CommandContext,
  asked: AppView,
  before: InstanceView[],
  timeoutSeconds: number,
): Promise<void> {
  const versions = new Map(before.map(({ instance, version }) => [instance, version]));
  const wanted = ({ instance, version }: InstanceView) =>
    !versions.has(instance) || (version !== null && versions.get(instance) !== version);
  return waitFor(context, [{ app: asked.app, wanted }], timeoutSeconds);
}

async function waitFor(context: CommandContext, goals: Goal[], timeoutSeconds: number): Promise<void> {
  const { io, out, api } = context;
  const client = await api();
  const endMs = io.now() + timeoutSeconds * 1000;
  let told = '';
  let toldMs = -Infinity;
  for (;;) {
    const standings = await Promise.all(
      goals.map(async goal => {
        const [app, instances] = await Promise.all([
          client.app(goal.app, io.signal),
          client.instances({ app: goal.app }, io.signal),
        ]);
        const instead = otherRelease(goal, app);
        if (instead !== null) throw instead;
        return standingOf(goal, app, instances.items);
      }),
    );
    const failed = standings.flatMap(standing => standing.failed);
    if (failed.length > 0) throw givenUp(failed);
    const waitsFor = standings.flatMap(standing => standing.waitsFor);
    if (waitsFor.length === 0) return;
    if (io.now() >= endMs)
      throw tooLate(
        timeoutSeconds,
        standings.flatMap(standing => standing.notReady),
        waitsFor,
      );
    const text = waitsFor.join('; ');
    if (text !== told && (io.isTty || io.now() - toldMs >= TOLD_AFTER_MS)) {
      out.note(`waiting for ${text}`);
      told = text;
      toldMs = io.now();
    }
    await io.sleep(LOOK_EVERY_MS, io.signal);
  }
}

/** It was given up meanwhile, or somebody else went back or on. */
function otherRelease({ release: goal }: Goal, { app, release, givenUp }: AppView): CliFailure | null {
  if (!goal || release === goal.number || (goal.orLater && release > goal.number)) return null;
  const why =
    givenUp?.release === goal.number
      ? `release ${goal.number} of ${app} was given up, ${release} runs on: ${givenUp.reason}`
      : `release ${goal.number} of ${app} is not wanted any more, ${release} is`;
  return new CliFailure(EXIT.deployFailed, why, {
    hint: `hop3-agent events --subject app/${app} tells what happened`,
  });
}

interface Standing {
  /** `blog/web: 1 of 3 ready (starting, unplaced)` */
  waitsFor: string[];
  failed: InstanceView[];
  notReady: InstanceView[];
}

function standingOf(goal: Goal, app: AppView, instances: InstanceView[]): Standing {
  const waitsFor: string[] = [];
  const notReady: InstanceView[] = [];
  for (const [type, { scale }] of Object.entries(app.processes)) {
    const own = instances.filter(instance => instance.process === type && instance.index < scale);
    const ready = own.filter(instance => instance.ready && goal.wanted(instance));
    if (ready.length >= scale) continue;
    const others = own.filter(instance => !ready.includes(instance));
    const states = [
      ...new Set(others.map(instance => (instance.ready ? 'still to be replaced' : instance.state))),
    ];
    const why = states.length > 0 ? ` (${states.join(', ')})` : '';
    waitsFor.push(`${goal.app}/${type}: ${ready.length} of ${scale} ready${why}`);
    notReady.push(...others);
  }
  return {
    waitsFor,
    failed: notReady.filter(instance => instance.state === 'failed' && goal.wanted(instance)),
    notReady,
  };
}

function givenUp(failed: InstanceView[]): CliFailure {
  const names = failed.map(({ instance, node }) => `${instance}${node === null ? '' : ` on ${node}`}`);
  return new CliFailure(EXIT.deployFailed, `${names.join(', ')} failed and was given up`, {
    output: troubleLines(failed),
    hint: `hop3-agent logs ${failed[0]?.instance ?? ''} shows all it wrote`,
  });
}

function tooLate(timeoutSeconds: number, notReady: InstanceView[], waitsFor: string[]): CliFailure {
  const first = notReady[0]?.instance;
  return new CliFailure(
    EXIT.deployFailed,
    `after ${timeoutSeconds} s still not ready: ${waitsFor.join('; ')}`,
    {
      output: troubleLines(notReady),
      hint: first === undefined ? null : `hop3-agent explain ${first} says why`,
    },
  );
}

function troubleLines(instances: InstanceView[]): string[] {
  return instances.flatMap(({ instance, trouble }) =>
    trouble === null ? [] : tail(trouble, 20).map(line => `${instance}: ${line}`),
  );
}
