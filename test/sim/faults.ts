import type { Chance } from './chance.ts';
import type { SimCluster } from './cluster.ts';
import type { SimNode } from './node.ts';

/** Something that may go wrong. It says in words what it does, and begins; what it returns ends it. */
export interface Fault {
  name: string;
  weight: number;
  /** Whether it breaks nothing but the way to the store, or the store's own good manners. */
  storeOnly: boolean;
  begin: (world: FaultWorld) => { what: string; lastsMs: number; end: () => void } | null;
}

export interface FaultWorld {
  cluster: SimCluster;
  chance: Chance;
  node: SimNode;
  ttlMs: number;
}

const NOTHING = { lastsMs: 0, end: (): void => undefined };

/** Short, just below the lease's time, just above it, or long. */
function duration({ chance, ttlMs }: FaultWorld): number {
  return chance.pick([
    () => chance.between(50, 1500),
    () => chance.between(0.2, 0.9) * ttlMs,
    () => chance.between(0.9, 1.3) * ttlMs,
    () => chance.between(1.3, 3) * ttlMs,
  ])();
}

export const faults: Fault[] = [
  {
    name: 'cut from etcd',
    weight: 5,
    storeOnly: true,
    begin: world => {
      const { node, chance } = world;
      const link = chance.pick(['refused', 'silent', 'replies-lost'] as const);
      node.setLink(link);
      return { what: `${node.name} etcd ${link}`, lastsMs: duration(world), end: () => node.setLink('up') };
    },
  },
  {
    name: 'lossy way to etcd',
    weight: 4,
    storeOnly: true,
    begin: world => {
      const { node, chance } = world;
      node.way.lossProbability = chance.between(0, 0.3);
      node.way.replyLossProbability = chance.between(0, 0.5);
      node.way.lateProbability = chance.between(0, 0.2);
      const end = (): void => {
        node.way.lossProbability = node.way.replyLossProbability = node.way.lateProbability = 0;
      };
      return { what: `${node.name} lossy`, lastsMs: duration(world), end };
    },
  },
  {
    name: 'lagging watches',
    weight: 4,
    storeOnly: true,
    begin: world => {
      const { node, chance } = world;
      node.way.longestLagMs = chance.between(100, 9000);
      node.way.lagProbability = chance.between(0.1, 0.9);
      const end = (): void => {
        node.way.lagProbability = 0;
      };
      return { what: `${node.name} lags`, lastsMs: duration(world), end };
    },
  },
  {
    name: 'a paused member of etcd',
    weight: 3,
    storeOnly: true,
    begin: world => {
      const { node, cluster } = world;
      const thenRevision = cluster.etcd.revision;
      node.setPaused(true);
      const end = (): void => {
        if (cluster.options.staleReads) {
          node.way.staleAsOf = thenRevision;
          cluster.timeline.after(cluster.chance.between(20, 400), () => (node.way.staleAsOf = null));
        }
        node.setPaused(false);
      };
      return { what: `${node.name} member of etcd paused`, lastsMs: duration(world), end };
    },
  },
  {
    name: 'renewals of gone leases accepted',
    weight: 2,
    storeOnly: true,
    begin: world => {
      const { node, cluster } = world;
      if (!cluster.options.staleReads) return null;
      node.way.acceptsGoneLeases = true;
      const end = (): void => {
        node.way.acceptsGoneLeases = false;
      };
      return { what: `${node.name} renews what is gone`, lastsMs: duration(world), end };
    },
  },
  {
    name: 'a healthy lease revoked',
    weight: 4,
    storeOnly: true,
    begin: ({ cluster, chance }) => {
      const leases = cluster.etcd.liveLeases();
      if (leases.length === 0) return null;
      const gone = chance.happens(0.3) ? leases : [chance.pick(leases)];
      for (const lease of gone) cluster.etcd.revoke(lease);
      return { what: `etcd revokes ${gone.join(' ')}`, ...NOTHING };
    },
  },
  {
    name: 'a session key deleted',
    weight: 2,
    storeOnly: true,
    begin: ({ cluster, chance }) => {
      const { keys } = cluster.etcd;
      const sessions = [...cluster.etcd.contents('sessions').keys()].sort();
      if (sessions.length === 0) return null;
      const key = keys.key('sessions', chance.pick(sessions));
      const operator = { node: 'operator', bornMs: 0, sentMs: cluster.timeline.nowMs };
      cluster.etcd.txn(operator, { conditions: [], success: [{ delete: key }], failure: [] });
      return { what: `somebody deletes ${key}`, ...NOTHING };
    },
  },
  {
    name: 'an election of etcd',
    weight: 3,
    storeOnly: true,
    begin: ({ cluster }) => {
      cluster.etcd.elect();
      return { what: 'etcd elects', ...NOTHING };
    },
  },
  {
    name: 'etcd away',
    weight: 1,
    storeOnly: true,
    begin: world => {
      const { cluster } = world;
      const thenRevision = cluster.etcd.revision;
      for (const node of cluster.nodes) node.setPaused(true);
      // While nobody leads, nothing is revoked.
      const hold = (): void => cluster.etcd.elect();
      hold();
      const lastsMs = duration(world);
      for (let atMs = 500; atMs < lastsMs; atMs += 500) cluster.timeline.after(atMs, hold);
      const end = (): void => {
        hold();
        for (const node of cluster.nodes) {
          if (cluster.options.staleReads && cluster.chance.happens(0.5)) {
            node.way.staleAsOf = thenRevision;
            cluster.timeline.after(cluster.chance.between(20, 400), () => (node.way.staleAsOf = null));
          }
          node.setPaused(false);
        }
      };
      return { what: 'etcd is away', lastsMs, end };
    },
  },
  {
    name: 'compaction',
    weight: 3,
    storeOnly: true,
    begin: ({ cluster }) => {
      cluster.etcd.compact();
      return { what: 'etcd compacts', ...NOTHING };
    },
  },
  {
    name: 'wall clock set',
    weight: 1,
    storeOnly: true,
    begin: ({ node, chance }) => {
      node.machine.clock.wallOffsetMs = chance.pick([-3_600_000, 0, 3_600_000]);
      return { what: `${node.name} wall clock set`, ...NOTHING };
    },
  },
  {
    name: 'cut from peers',
    weight: 4,
    storeOnly: false,
    begin: world => {
      const { node, cluster, chance } = world;
      const others = cluster.nodes.filter(other => other !== node && chance.happens(0.8));
      for (const other of others) node.deaf.add(other);
      const end = (): void => others.forEach(other => node.deaf.delete(other));
      return { what: `${node.name} cut from peers`, lastsMs: duration(world), end };
    },
  },
  {
    name: 'agent frozen',
    weight: 8,
    storeOnly: false,
    begin: world => {
      const { node, chance, cluster } = world;
      const { life } = node;
      if (!life || life.frozen || life.over) return null;
      // Anywhere within what it is doing, rather than between two rounds.
      const inMs = chance.between(0, 30);
      const cancel = cluster.timeline.after(inMs, () => life.freeze());
      const end = (): void => {
        cancel();
        life.thaw();
      };
      return { what: `${node.name} frozen`, lastsMs: inMs + duration(world), end };
    },
  },
  {
    name: 'agent killed',
    weight: 5,
    storeOnly: false,
    begin: ({ node, chance }) => {
      if (!node.life) return null;
      node.kill();
      const lastsMs = chance.delayMs(3000, 30_000, 0.3);
      return { what: `${node.name} agent killed`, lastsMs, end: () => node.switchOn() };
    },
  },
  {
    name: 'agent restarted',
    weight: 3,
    storeOnly: false,
    begin: ({ node }) => {
      void node.restart();
      return { what: `${node.name} agent restarted`, ...NOTHING };
    },
  },
  {
    name: 'node lost',
    weight: 3,
    storeOnly: false,
    begin: ({ node, chance, ttlMs }) => {
      if (!node.machine.on) return null;
      node.crash();
      if (chance.happens(0.2)) node.forgetState();
      const lastsMs = chance.between(500, 4 * ttlMs);
      return { what: `${node.name} lost`, lastsMs, end: () => node.switchOn() };
    },
  },
  {
    name: 'node leaves',
    weight: 2,
    storeOnly: false,
    begin: ({ node, chance }) => {
      const { agent } = node;
      if (!agent) return null;
      agent.admin.leave().catch(() => undefined);
      const lastsMs = chance.between(1000, 40_000);
      return { what: `${node.name} leaves`, lastsMs, end: () => node.switchOn() };
    },
  },
  {
    name: 'guard fails',
    weight: 2,
    storeOnly: false,
    begin: world => {
      const { node, chance } = world;
      node.machine.guardFailureProbability = chance.between(0.2, 1);
      const end = (): void => {
        node.machine.guardFailureProbability = 0;
      };
      return { what: `${node.name} guard fails`, lastsMs: duration(world), end };
    },
  },
  {
    name: 'copy ends',
    weight: 2,
    storeOnly: false,
    begin: ({ node, chance }) => {
      const living = node.machine.living();
      if (living.length === 0) return null;
      const unit = chance.pick(living);
      node.machine.end(unit, { code: 1 }, 'by itself');
      return { what: `${unit.described.unit} ends`, ...NOTHING };
    },
  },
];

/** Only where nothing unfenced is promised. */
export const suspension: Fault = {
  name: 'host suspended',
  weight: 6,
  storeOnly: false,
  begin: world => {
    const { node } = world;
    const { life, machine } = node;
    if (!life || life.frozen || machine.suspended) return null;
    life.freeze();
    machine.suspended = true;
    const end = (): void => {
      machine.resume();
      life.thaw();
    };
    return { what: `${node.name} suspended`, lastsMs: duration(world), end };
  },
};
