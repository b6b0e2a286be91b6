/** What the bench measures: one number each, in the unit of its name. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/platform/clock.ts';
import { systemRandom } from '../../src/platform/random.ts';
import { openStore } from '../../src/store/open-store.ts';
import type { TestCluster } from '../support/cluster.ts';
import { FakeLog } from '../support/fake-log.ts';
import { freePort } from '../support/free-port.ts';
import { until } from '../support/until.ts';

const APP = join(import.meta.dirname, '../fixtures/app');
const ENDPOINTS_EVERY_MS = 40;

/** From before the first spawn to the last first answer. */
export async function spawnMs(count: number): Promise<number> {
  const ports = await Promise.all(Array.from({ length: count }, () => freePort()));
  const beganMs = performance.now();
  const children = ports.map(port =>
    spawn('/bin/sh', ['-c', 'exec node server.cjs'], {
      cwd: APP,
      stdio: 'ignore',
      env: { PATH: process.env['PATH'], PORT: String(port), BIND_ADDRESS: '127.0.0.1' },
    }),
  );
  await Promise.all(ports.map(port => answers(port)));
  const tookMs = performance.now() - beganMs;
  await Promise.all(children.map(ended));
  return tookMs;
}

async function ended(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'exit');
}

async function answers(port: number, pidOtherThan: number | null = null): Promise<void> {
  for (;;) {
    const pid = await fetch(`http://127.0.0.1:${port}/`).then(
      async response => ((await response.json()) as { pid: number }).pid,
      () => null,
    );
    if (pid !== null && pid !== pidOtherThan) return;
    await sleep(2);
  }
}

export async function crashRestartMs(cluster: TestCluster): Promise<number> {
  const [instance] = await cluster.ready('bench', 1);
  // Long enough for the backoff of the crash before to be over.
  await cluster.api.restart('bench', null);
  const [fresh] = await cluster.ready('bench', 1, all => all[0]!.version !== instance!.version);
  await until('the old copy is gone', async () => (await cluster.instances('bench'))[0]!.state === 'running');
  await sleep(1500);
  const beganMs = performance.now();
  process.kill(fresh!.pid!, 'SIGKILL');
  await answers(fresh!.endpoint!.port, fresh!.pid);
  return performance.now() - beganMs;
}

export async function applyMs(cluster: TestCluster, app: string, count: number): Promise<number> {
  // The source is in the cluster and built before: what is measured is what the cluster does with it.
  const [known] = (await cluster.api.apps()).items;
  const yaml = JSON.stringify({
    metadata: { id: app },
    source: { uploaded: known!.artifact },
    run: { start: 'exec node server.cjs' },
    healthcheck: { path: '/', interval: 5, timeout: 2 },
    scale: { web: count },
  });
  const spec = JSON.parse(await specOf(yaml, known!.app, cluster)) as never;
  const beganMs = performance.now();
  for await (const progress of cluster.api.apply({ specs: [spec], ifGeneration: null })) {
    if (progress.kind === 'failed') throw new Error(progress.message);
  }
  // As soon as one is known, its port is asked as those of the floor are. The agent is not asked more often than needed.
  const asked = new Map<number, Promise<void>>();
  await until(`${count} endpoints are known`, async () => {
    await sleep(ENDPOINTS_EVERY_MS);
    for (const { endpoint } of await cluster.instances(app)) {
      if (endpoint && !asked.has(endpoint.port)) asked.set(endpoint.port, answers(endpoint.port));
    }
    return asked.size === count;
  });
  await Promise.all(asked.values());
  return performance.now() - beganMs;
}

/** The spec of a running app under another name and scale, as the store has it. */
async function specOf(yaml: string, from: string, cluster: TestCluster): Promise<string> {
  const wanted = JSON.parse(yaml) as { metadata: { id: string }; scale: { web: number } };
  const text = await cluster.etcd.ctl('get', `/hop3/test/apps/${from}`, '--print-value-only');
  const { spec } = JSON.parse(text) as { spec: { app: string; processes: { scale: number }[] } };
  spec.app = wanted.metadata.id;
  spec.processes[0]!.scale = wanted.scale.web;
  return JSON.stringify(spec);
}

async function spreadAnew(cluster: TestCluster): Promise<boolean> {
  await cluster.api.scale('bench', { web: 0 });
  await until('all are gone', async () => (await cluster.instances('bench')).length === 0);
  await cluster.api.scale('bench', { web: 3 });
  const all = await cluster.ready('bench', 3);
  return new Set(all.map(({ node }) => node)).size === 3;
}

/** Kills a node with its instance, waits for the same instance to answer elsewhere, and brings the node back. */
export async function nodeLossMs(cluster: TestCluster): Promise<number> {
  const spread = await cluster.ready('bench', 3);
  const victim = spread.find(({ node }) => node !== 'node-1')!;
  const node = cluster.node(victim.node!);
  const beganMs = performance.now();
  await node.crash();
  await until(
    'it answers elsewhere',
    async () => {
      const now = (await cluster.instances('bench')).find(({ instance }) => instance === victim.instance);
      if (!now?.ready || now.node === victim.node || !now.endpoint) return false;
      await answers(now.endpoint.port);
      return true;
    },
    60_000,
  );
  const tookMs = performance.now() - beganMs;
  await node.start();
  await node.ready();
  // A node that was lost twice within a minute is given nothing for another.
  await until('they are spread again', () => spreadAnew(cluster), 120_000);
  return tookMs;
}

export async function promiseSeenMs(cluster: TestCluster, samples: number): Promise<number[]> {
  const open = () =>
    openStore({
      endpoints: cluster.etcd.urls,
      cluster: 'seen',
      clock: systemClock(),
      log: new FakeLog(),
      random: systemRandom(),
    });
  const [writer, reader] = [open(), open()];
  const mirror = reader.mirror('hostnames');
  await mirror.ready();
  const seenMs: number[] = [];
  for (let turn = 0; turn < samples; turn++) {
    const beganMs = performance.now();
    const seen = new Promise<void>(resolve => {
      const stop = mirror.onChange(() => {
        stop();
        resolve();
      });
    });
    await writer.commit([], [{ put: 'hostnames', name: 'seen', value: { v: 1, app: `a${turn}` } }]);
    await seen;
    seenMs.push(performance.now() - beganMs);
  }
  await Promise.all([writer.close(), reader.close()]);
  return seenMs;
}

/** No write for 15 s: what the work before has to say has been said. */
export async function settled(cluster: TestCluster): Promise<void> {
  let last = await revision(cluster);
  for (let quietSeconds = 0; quietSeconds < 15; quietSeconds++) {
    await sleep(1000);
    const now = await revision(cluster);
    if (now !== last) quietSeconds = 0;
    last = now;
  }
}

export async function revision(cluster: TestCluster): Promise<number> {
  const status = JSON.parse(await cluster.etcd.ctl('endpoint', 'status', '--write-out=json')) as {
    Status: { header: { revision: number } };
  }[];
  return status[0]!.Status.header.revision;
}

/** Of the agent, and of the program that starts its processes. */
export async function pssMebibytes(agent: number): Promise<number> {
  const children = (await readFile(`/proc/${agent}/task/${agent}/children`, 'utf8')).trim().split(' ');
  const names = await Promise.all(children.map(pid => readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')));
  const spawners = children.filter((_, index) => names[index]?.trim() === 'hop3-spawner');
  const texts = await Promise.all(
    [String(agent), ...spawners].map(pid => readFile(`/proc/${pid}/smaps_rollup`, 'utf8')),
  );
  return texts.reduce((sum, text) => sum + Number(/^Pss:\s+(\d+) kB/m.exec(text)?.[1]) / 1024, 0);
}

export async function nodeProcesses(): Promise<number> {
  const pids = (await readdir('/proc')).filter(name => /^\d+$/.test(name));
  const names = await Promise.all(pids.map(pid => readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')));
  return names.filter(name => name.trim() === 'node').length;
}
