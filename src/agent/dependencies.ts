import { unmet, type JudgedPromise } from '../assess/dependency.ts';
import { observersOf } from '../assess/observers.ts';
import type { AppName } from '../model/ids.ts';
import type { AppRecord } from '../model/records.ts';
import type { World } from './world.ts';

/** The apps among `names` that can't be relied upon, in the eyes of observers, each with the reason. */
export function unmetDependencies(world: World, names: readonly AppName[]): { app: AppName; why: string }[] {
  return names.flatMap(app => {
    const why = whyUnmet(world, app);
    return why === null ? [] : [{ app, why }];
  });
}

function whyUnmet(world: World, app: AppName): string | null {
  const record = world.apps.get(app)?.value;
  if (!record || record.removing) return 'there is no such app';
  return unmet(reliedUpon(record), judgedPromises(world, app));
}

/** What answers requests; of an app that answers none, all of it. */
function reliedUpon({ spec }: AppRecord): string[] {
  const wanted = spec.processes.filter(({ scale }) => scale > 0);
  const routed = wanted.filter(process => process.routed);
  return (routed.length > 0 ? routed : wanted).map(({ type }) => type);
}

function judgedPromises(world: World, app: AppName): JudgedPromise[] {
  const nodes = [...world.nodes().keys()];
  return world.promises.all().flatMap(({ value: { promise } }): JudgedPromise[] => {
    if (promise.body.kind !== 'running' || promise.body.app !== app) return [];
    const observers = observersOf(promise.promiser, nodes);
    const assessments = observers.flatMap(observer => {
      const entry = world.assessments.get(`${promise.promiser}/${promise.name}/${observer}`);
      return entry ? [entry.value.assessment] : [];
    });
    return [{ promise, assessments, observers }];
  });
}
