import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import type { InstanceView } from '../../src/model/views.ts';
import { isAlive, startCluster, type TestCluster, type TestNode } from '../support/cluster.ts';
import { until } from '../support/until.ts';

/** The shortest that leaves room for a stop timeout of 1 s (rule 7). */
const LEASE_TTL_SECONDS = 8;
/** Until the lease of a lost node has ended, and its hold-down after that; and time for a busy machine. */
const MOVED_WITHIN_MS = 2 * LEASE_TTL_SECONDS * 1000 + 15_000;

let cluster: TestCluster;
let witness: string;
test.before(async () => {
  cluster = await startCluster({ nodes: 3, leaseTtlSeconds: LEASE_TTL_SECONDS });
  witness = join(cluster.directory, 'witness');
  await applySingle(cluster);
});
test.after.always(() => cluster.stop());

function applySingle(to: TestCluster): Promise<void> {
  return to.apply('single', {
    run: { workers: { writer: 'exec node writer.cjs' }, 'stop-timeout': 1 },
    exclusive: ['writer'],
    env: { WITNESS: join(to.directory, 'witness') },
    healthcheck: undefined,
  });
}

/** When each token was seen at work, in microseconds of the machine's monotonic clock, in order of its first sign. */
function spans(): { token: bigint; node: string; firstUs: bigint; lastUs: bigint }[] {
  const found = new Map<string, { token: bigint; node: string; firstUs: bigint; lastUs: bigint }>();
  for (const line of readFileSync(witness, 'utf8').trim().split('\n')) {
    const [atUs = '', token = '', node = ''] = line.split(' ');
    const span = found.get(token) ?? { token: BigInt(token), node, firstUs: BigInt(atUs), lastUs: 0n };
    found.set(token, { ...span, lastUs: BigInt(atUs) });
  }
  return [...found.values()];
}

/** No two at work at one time, and tokens that only grow. Returns the smallest pause between two, in ms. */
function smallestGapMs(): number {
  const all = spans();
  const gaps = all.slice(1).map((span, index) => {
    const before = all[index]!;
    if (span.token <= before.token) throw new Error(`token ${span.token} came after ${before.token}`);
    return Number(span.firstUs - before.lastUs) / 1000;
  });
  return Math.min(...gaps);
}

/** A process whose agent is frozen is nobody's to bury, so its pid tells nothing. */
function isQuiet(): boolean {
  return process.hrtime.bigint() / 1000n - spans().at(-1)!.lastUs > 500_000n;
}

async function owner(): Promise<{ node: TestNode; others: TestNode[]; instance: InstanceView }> {
  const [instance] = await cluster.ready('single', 1);
  const node = cluster.node(instance!.node!);
  return { node, others: cluster.nodes.filter(other => other !== node), instance: instance! };
}

async function movedFrom(node: TestNode, others: TestNode[]): Promise<void> {
  await until(
    'another node runs it',
    async () => {
      const { items } = await others[0]!.api.instances({ app: 'single' });
      return items.some(instance => instance.ready && instance.node !== node.name);
    },
    MOVED_WITHIN_MS,
  );
}

test.serial(
  'an agent that is back before its deadline finds its exclusive process at work, with the same token',
  async t => {
    // A lease so long that no machine is too slow to be back before its deadline.
    const patient = await startCluster({ nodes: 1, leaseTtlSeconds: 60 });
    t.teardown(() => patient.stop());
    await applySingle(patient);
    const [node] = patient.nodes as [TestNode];
    const instance = (await patient.ready('single', 1))[0]!;
    await node.end('SIGKILL');
    await node.start();
    await node.ready();
    const [after] = await patient.ready('single', 1);
    t.is(after!.pid, instance.pid);
    t.is(after!.token, instance.token);
    t.true(isAlive(instance.pid!));
  },
);

test.serial(
  'a frozen agent: its exclusive process is dead before another one starts, and stays the only one',
  async t => {
    const { node, others } = await owner();
    node.signal('SIGSTOP');
    t.teardown(() => node.signal('SIGCONT'));
    await until('the guard has killed it', isQuiet, LEASE_TTL_SECONDS * 1000);
    const { items } = await others[0]!.api.nodes();
    t.true(
      items.some(({ name, state }) => name === node.name && state === 'Active'),
      'its session key is still there',
    );
    await movedFrom(node, others);
    node.signal('SIGCONT');
    await until('it is back', async () => (await node.api.ready().catch(() => ({ ready: false }))).ready);
    t.true((await owner()).node !== node);
    const gapMs = smallestGapMs();
    t.log(`${spans().length} owners, smallest gap ${Math.round(gapMs)} ms`);
    t.true(gapMs > 0);
  },
);

test.serial('a killed agent: its exclusive process is dead before another one starts', async t => {
  const { node, others, instance } = await owner();
  await node.end('SIGKILL');
  await until('the guard has killed it', () => !isAlive(instance.pid!), LEASE_TTL_SECONDS * 1000);
  await movedFrom(node, others);
  await node.start();
  await node.ready();
  const gapMs = smallestGapMs();
  t.log(`${spans().length} owners, smallest gap ${Math.round(gapMs)} ms`);
  t.true(gapMs > 0);
});

test.serial('a node that leaves hands it over without a hold-down', async t => {
  const { node, others } = await owner();
  await node.end('SIGINT');
  await until(
    'another node has taken it',
    async () => {
      const { items } = await others[0]!.api.instances({ app: 'single' });
      return items.some(instance => instance.node !== null && instance.node !== node.name);
    },
    LEASE_TTL_SECONDS * 1000,
  );
  await movedFrom(node, others);
  t.true(smallestGapMs() > 0);
});
