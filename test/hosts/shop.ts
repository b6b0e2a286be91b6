import assert from 'node:assert/strict';
import type { InstanceView } from '../../src/model/views.ts';
import { until } from '../support/until.ts';
import { askProxy, isReady, readyInstances, type Node } from './fleet.ts';
import { Traffic, type Heard } from './traffic.ts';

/** The app that nothing may happen to, on every host. */
export const APP = 'shop';
export const HOSTNAME = 'shop.localhost';
export const COPIES = 3;
/** A request may be slow when six agents and three etcds share two processors; none is lost. */
const NOT_FELT_MS = 2000;

/** A host that came and went gets nothing new for a minute, and one that kept its promises worse than others nothing to even things out. */
const SPREAD_WITHIN_MS = 120_000;

/** Does something that must not be felt: no process of the app changes, and each proxy goes on answering. */
export async function steady(nodes: Node[], act: () => Promise<void>): Promise<string> {
  const before = await spread(nodes);
  const heard = await withTraffic(nodes, async () => {
    await act();
    const after = await settled(nodes);
    for (const { host } of nodes) unchanged(before, after, host.name);
  });
  bearable(heard, NOT_FELT_MS);
  return silences(heard);
}

/** The app is asked for through the proxies of these nodes until all of it is done, or has failed. */
export async function withTraffic(
  nodes: Node[],
  act: () => Promise<void>,
): Promise<ReadonlyMap<string, Heard>> {
  const traffic = new Traffic(nodes, HOSTNAME);
  try {
    await act();
  } finally {
    await traffic.stop();
  }
  return traffic.stop();
}

/** All copies are ready in the eyes of each agent, no other runs anywhere, and each proxy answers. */
export async function settled(nodes: Node[]): Promise<InstanceView[]> {
  await Promise.all(nodes.map(node => isReady(node)));
  await Promise.all(nodes.map(node => readyInstances(node, APP, COPIES)));
  await answersEverywhere(nodes);
  let running: number[] = [];
  const noneTooMany = async (): Promise<boolean> => {
    running = await Promise.all(nodes.map(node => copiesOn(node)));
    return running.reduce((sum, count) => sum + count, 0) === COPIES;
  };
  await until(`${COPIES} copies run in all`, noneTooMany, 60_000).catch((error: unknown) => {
    throw new Error(`${(error as Error).message}: there are ${running.join(', ')}`, { cause: error });
  });
  const surely = async (): Promise<InstanceView[] | null> => {
    const all = await readyInstances(nodes[0]!, APP, COPIES);
    return all.every(({ mayStillRun }) => mayStillRun.length === 0) ? all : null;
  };
  return until('no host may still run what moved away from it', surely, 60_000);
}

/** As `settled`, with a copy on each host: what was broken before may have brought them together. */
export async function spread(nodes: Node[]): Promise<InstanceView[]> {
  const evenly = async (): Promise<InstanceView[] | null> => {
    const instances = await settled(nodes);
    if (new Set(instances.map(({ node }) => node)).size === nodes.length) return instances;
    await nodes[0]!.host.must(['hop3-agent', 'rebalance', '--apply', '--wait']);
    return null;
  };
  return until('each host has a copy of the app', evenly, SPREAD_WITHIN_MS);
}

/** The processes of the app on a host, by the view of its kernel. */
async function copiesOn({ host }: Node): Promise<number> {
  const { code, stdout, stderr } = await host.run(['pgrep', '-f', '-c', 'server[.]cjs']);
  // 1 = it looked, and found none.
  if (code !== 0 && code !== 1) throw new Error(`${host.name}: pgrep ended with ${String(code)}: ${stderr}`);
  return Number(stdout.trim());
}

export async function answersEverywhere(nodes: Node[]): Promise<void> {
  for (const node of nodes) {
    const answers = async (): Promise<boolean> => (await askProxy(node, HOSTNAME)) !== null;
    await until(`the proxy of ${node.host.name} answers`, answers, 30_000);
  }
}

/** @throws AssertionError when an instance that ran on a host is not the same process on it now */
export function unchanged(before: InstanceView[], after: InstanceView[], host: string): void {
  const of = (instances: InstanceView[]): string[] =>
    instances.filter(({ node }) => node === host).map(({ instance, pid }) => `${instance} ${pid ?? 0}`);
  const now = of(after);
  for (const process of of(before))
    assert.ok(now.includes(process), `${host} had ${process}, and now: ${now.join(', ')}`);
}

export function bearable(heard: ReadonlyMap<string, Heard>, mostMs: number): void {
  for (const [host, { asked, failed, longestSilenceMs }] of heard) {
    assert.ok(
      asked > 0 && longestSilenceMs <= mostMs,
      `the proxy of ${host} was silent for ${longestSilenceMs} ms (${failed} of ${asked} requests failed)`,
    );
  }
}

export function silences(heard: ReadonlyMap<string, Heard>): string {
  const each = [...heard.values()];
  const asked = each.reduce((sum, one) => sum + one.asked, 0);
  const failed = each.reduce((sum, one) => sum + one.failed, 0);
  const longest = Math.max(...each.map(({ longestSilenceMs }) => longestSilenceMs));
  return `${failed} of ${asked} requests failed, longest silence ${seconds(longest)}`;
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
