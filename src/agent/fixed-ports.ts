import { portsOf, portText } from '../model/app-spec.ts';
import { subjectOfInstance, type InstanceId, type NodeName, type PortText } from '../model/ids.ts';
import type { Unit } from '../model/reconciliation.ts';
import type { Compare, Entry, Session, Store, Write } from '../ports/store.ts';
import type { Holdings } from './holdings.ts';
import { wantedOrWhyNot, type WantedInstance } from './wanted.ts';
import type { World } from './world.ts';

export interface FixedPortsOptions {
  node: NodeName;
  world: World;
  store: Store;
  holdings: Holdings;
  /** The living copies here; null before the first look. */
  units: () => readonly Unit[] | null;
  /** Whether something of an instance lives here, or is about to. */
  runs: (instance: InstanceId) => boolean;
}

/** What a transaction says of keys of ports. */
export interface PortKeys {
  compares: Compare[];
  writes: Write[];
}

/** A port that an instance should have here and has not, and who has it; null = nobody yet. */
export interface LackingPort {
  port: PortText;
  holder: InstanceId | null;
}

/**
 * Which instance has which fixed port of this node. A port is taken in the transaction that takes its instance, and is the
 * instance's until nothing of it is here any more: neither session nor lease ends that, since copies outlive both. So only this node
 * writes these keys, and a supervisor removes what is left of them when it is lost (forget-ports.ts); to the others they say
 * what can't be placed here.
 */
export class FixedPorts {
  readonly #options: FixedPortsOptions;

  constructor(options: FixedPortsOptions) {
    this.#options = options;
  }

  /** What has to hold, and is written, when an instance is taken by this node. */
  taking(wanted: WantedInstance): PortKeys {
    const keys: PortKeys = { compares: [], writes: [] };
    for (const port of wantedPorts(wanted)) {
      const entry = this.#entry(port);
      if (entry?.value.instance === wanted.instance) keys.compares.push(asRead(entry));
      else this.#take(keys, port, wanted);
    }
    return keys;
  }

  /** What goes with the release of an instance, of which nothing runs here any more. */
  leaving(instance: InstanceId): PortKeys {
    const own = this.#own().filter(({ value }) => value.instance === instance);
    return { compares: own.map(asRead), writes: own.map(({ name }) => ({ delete: 'ports', name })) };
  }

  /** The first port that an instance held here lacks; null = it has all of them. */
  lacking(wanted: WantedInstance): LackingPort | null {
    for (const port of wantedPorts(wanted)) {
      const holder = this.#entry(port)?.value.instance ?? null;
      if (holder !== wanted.instance) return { port, holder };
    }
    return null;
  }

  /**
   * Lets go of ports that nothing here uses any more (what was lost with a session, or is not in a new release), and takes what
   * a new release wants for an instance that is held. @throws StoreError
   */
  async review(session: Session): Promise<void> {
    const { node, world, store, holdings } = this.#options;
    const units = this.#options.units();
    if (units === null) return;
    const own: Compare = { kind: 'sessions', name: `${node}/${session.incarnation}`, lease: session.lease };
    for (const entry of this.#own())
      if (!this.#isUsed(entry, units, session))
        await store.commit([own, asRead(entry)], [{ delete: 'ports', name: entry.name }]);
    for (const { instance } of holdings.held().values()) {
      const wanted = wantedOrWhyNot(world, instance);
      if ('notWanted' in wanted) continue;
      const keys: PortKeys = { compares: [own], writes: [] };
      for (const port of wantedPorts(wanted))
        if (this.#entry(port) === undefined) this.#take(keys, port, wanted);
      // Refused when it was taken along with the claim, and is only not seen here yet.
      if (keys.writes.length > 0) await store.commit(keys.compares, keys.writes);
    }
  }

  #isUsed({ name, value: { instance } }: Entry<'ports'>, units: readonly Unit[], session: Session): boolean {
    const { node, world, holdings, runs } = this.#options;
    const subject = subjectOfInstance(instance);
    const owner = world.owners.get(subject)?.value;
    const isOwned = owner?.released === null && owner.incarnation === session.incarnation;
    const isHeld = holdings.held().has(subject) || holdings.former().has(subject);
    if (!isOwned && !isHeld && !runs(instance)) return false;
    const wanted = wantedOrWhyNot(world, instance);
    if ('notWanted' in wanted) return true;
    const needsIt = wantedPorts(wanted).some(port => name === `${node}/${port}`);
    const isOther = (unit: Unit): boolean => unit.instance === instance && unit.version !== wanted.version;
    return needsIt || units.some(isOther);
  }

  #take({ compares, writes }: PortKeys, port: PortText, { instance, record }: WantedInstance): void {
    const name = `${this.#options.node}/${port}`;
    compares.push({ kind: 'ports', name, is: 'absent' });
    writes.push({ put: 'ports', name, value: { v: 1, app: record.app, instance } });
  }

  #entry(port: PortText): Entry<'ports'> | undefined {
    return this.#options.world.ports.get(`${this.#options.node}/${port}`);
  }

  #own(): Entry<'ports'>[] {
    const { node, world } = this.#options;
    return world.ports.all().filter(({ name }) => name.startsWith(`${node}/`));
  }
}

function wantedPorts({ spec, process }: WantedInstance): PortText[] {
  return portsOf(spec, process.type).map(portText);
}

function asRead({ name, revision }: Entry<'ports'>): Compare {
  return { kind: 'ports', name, revision };
}
