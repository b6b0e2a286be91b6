import type { AppSpec } from '../../src/model/app-spec.ts';
import type { DeployProgress } from '../../src/model/views.ts';
import type { Admin } from '../../src/ports/admin.ts';
import { FakeAdmin } from './fake-admin.ts';
import { SimCluster } from './sim-cluster.ts';

/** What the contract suite needs of the world behind the admin API: three nodes, and time. */
export interface AdminWorld {
  admin: Admin;
  nodes: string[];
  /** Lets time pass until that is done. */
  during: <T>(work: Promise<T>) => Promise<T>;
  /** Lets time pass until that is so. */
  until: (condition: () => boolean) => Promise<void>;
  close(): Promise<void>;
}

export const adminWorlds: Record<string, () => Promise<AdminWorld>> = {
  'in memory': () => {
    const admin = new FakeAdmin();
    const until = (condition: () => boolean): Promise<void> =>
      condition() ? Promise.resolve() : Promise.reject(new Error('in memory everything is so at once'));
    return Promise.resolve({
      admin,
      nodes: admin.nodes().items.map(({ name }) => name),
      during: work => work,
      until,
      close: () => Promise.resolve(),
    });
  },
  'the agent': async () => {
    const nodes = ['node-1', 'node-2', 'node-3'];
    const cluster = new SimCluster(nodes);
    await cluster.start();
    const { admin } = cluster.node('node-1').agent;
    await cluster.until(
      () => admin.supervisor().node !== null && admin.nodes().items.length === nodes.length,
    );
    // As after an upload.
    for (const name of nodes) cluster.node(name).artifacts.hold('a source');
    return {
      admin,
      nodes,
      during: work => cluster.whileTimePasses(work),
      until: condition => cluster.until(condition, 120_000),
      close: () => cluster.stop(),
    };
  },
};

/** What deploying it tells, to the end. */
export async function applied(
  { admin, during }: AdminWorld,
  specs: AppSpec[],
  ifGeneration: number | null = null,
): Promise<DeployProgress[]> {
  const said: DeployProgress[] = [];
  const all = async (): Promise<void> => {
    for await (const progress of admin.apply({ specs, ifGeneration }, new AbortController().signal))
      said.push(progress);
  };
  await during(all());
  return said;
}
