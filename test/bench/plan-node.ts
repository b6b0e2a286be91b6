/** A node that works at plans of steps that do nothing: within the bench, or as a process of its own (`ENDPOINT NAME AT-ONCE`). */
import { noopAgent } from '../../src/drivers/step-noop.ts';
import { defaultPlanLimits } from '../../src/model/node-config.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { systemRandom } from '../../src/platform/random.ts';
import type { Store } from '../../src/ports/store.ts';
import { openStore } from '../../src/store/open-store.ts';
import { FakeBlobs } from '../support/fake-blobs.ts';
import { FakeLog } from '../support/fake-log.ts';
import { startPlanNode } from '../support/plan-node.ts';

const clock = systemClock();

export function startNoopNode(
  endpoint: string,
  node: string,
  atOnce: number,
): ReturnType<typeof startPlanNode> {
  const agent = noopAgent({ clock, blobs: new FakeBlobs(clock) });
  return startPlanNode(benchStore(endpoint), node, [agent], { ...defaultPlanLimits, atOnce });
}

export function benchStore(endpoint: string): Store {
  const parts = { clock, random: systemRandom(), log: new FakeLog() };
  return openStore({ endpoints: [endpoint], cluster: 'bench', ...parts });
}

const [, self, endpoint, node, atOnce] = process.argv;
if (self === import.meta.filename && endpoint !== undefined && node !== undefined) {
  await startNoopNode(endpoint, node, Number(atOnce));
  process.stdout.write('ready\n');
}
