import { portsOf, portText } from '../model/app-spec.ts';
import {
  instanceOfSubject,
  parseInstanceId,
  type InstanceId,
  type NodeName,
  type PortText,
} from '../model/ids.ts';
import type { AppRecord } from '../model/records.ts';
import type { LocalState } from '../ports/local-state.ts';
import type { Log } from '../ports/log.ts';
import { wantedOrWhyNot } from './wanted.ts';
import type { World } from './world.ts';

const DOCUMENT = 'last-run';

/** What a node ran last, and all that is needed to run it again. Holds secrets: readable by its user only. */
export interface Remembered {
  instances: InstanceId[];
  apps: AppRecord[];
}

/**
 * Remembers what runs here, so that an agent that is started with no store in reach can bring it up again. Only what may
 * run twice: nothing exclusive is ever started on memory alone.
 */
export class LastRun {
  readonly #state: LocalState;
  readonly #log: Log;
  #written: string | null = null;

  constructor(options: { state: LocalState; log: Log }) {
    this.#state = options.state;
    this.#log = options.log;
  }

  /**
   * To be called whenever what runs here has changed. Of no use before the store was heard: then nothing is known better.
   * What nobody has taken from this node counts as running: after a start it has not taken its own again yet.
   */
  note(world: World, node: NodeName, instances: readonly InstanceId[]): void {
    if (!world.synced()) return;
    const left = world.owners
      .all()
      .flatMap(({ name, value }) =>
        value.node === node && value.released === null ? (instanceOfSubject(name) ?? []) : [],
      );
    const given = new Map<PortText, InstanceId>();
    const redundant = [...new Set([...instances, ...left])].filter(instance => {
      const wanted = wantedOrWhyNot(world, instance);
      if ('notWanted' in wanted || wanted.process.exclusive) return false;
      // From memory nobody asks whose a fixed port is: two that want one are not both remembered.
      const ports = portsOf(wanted.spec, wanted.process.type).map(portText);
      const isOthers = (port: PortText): boolean =>
        (given.get(port) ?? world.ports.get(`${node}/${port}`)?.value.instance ?? instance) !== instance;
      if (ports.some(isOthers)) return false;
      for (const port of ports) given.set(port, instance);
      return true;
    });
    const names = new Set(redundant.map(instance => parseInstanceId(instance).app));
    const apps = [...names].sort().flatMap(name => world.apps.get(name)?.value ?? []);
    const remembered: Remembered = { instances: [...redundant].sort(), apps };
    const text = JSON.stringify(remembered);
    if (text === this.#written) return;
    this.#written = text;
    this.#state.write(DOCUMENT, { v: 1, ...remembered }).catch((error: unknown) => {
      this.#written = null;
      this.#log.error(
        'what runs here could not be written down: without the store it would not come up again',
        {
          error,
        },
      );
    });
  }

  /** Nothing is to come up again: this node has left. */
  async clear(): Promise<void> {
    this.#written = null;
    await this.#state.write(DOCUMENT, null);
  }

  /** null when there is nothing that could be run. */
  async load(): Promise<Remembered | null> {
    const document = await this.#state.read(DOCUMENT);
    if (!isRemembered(document)) return null;
    const { instances, apps } = document;
    return instances.length === 0 ? null : { instances, apps };
  }
}

/** Written by this program alone, and checked against damage when it is read. */
function isRemembered(document: unknown): document is Remembered & { v: 1 } {
  if (typeof document !== 'object' || document === null) return false;
  const { v, instances, apps } = document as Record<string, unknown>;
  if (v !== 1 || !Array.isArray(instances) || !Array.isArray(apps)) return false;
  const names = new Set(apps.map(app => (app as Partial<AppRecord> | null)?.app ?? null));
  return instances.every(instance => typeof instance === 'string' && names.has(appOf(instance)));
}

function appOf(instance: string): string | null {
  try {
    return parseInstanceId(instance).app;
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}
