/** A node that works at plans of steps that do nothing: within the bench, or as a process of its own (`ENDPOINT NAME`). */
import { noopAgent } from '../../src/drivers/step-noop.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { systemRandom } from '../../src/platform/random.ts';
import { openStore } from '../../src/store/open-store.ts';
import { FakeBlobs } from '../support/fake-blobs.ts';
import { FakeLog } from '../support/fake-log.ts';
import { startPlanNode } from '../support/plan-node.ts';

export function startNoopNode(endpoint: string, node: string): ReturnType<typeof startPlanNode> {
  const clock = systemClock();
  const parts = { clock, random: systemRandom(), log: new FakeLog() };
  const store = openStore({ endpoints: [endpoint], cluster: 'bench', ...parts });
  return startPlanNode(store, node, [noopAgent({ clock, blobs: new FakeBlobs(clock) })]);
}

const [, self, endpoint, node] = process.argv;
if (self === import.meta.filename && endpoint !== undefined && node !== undefined) {
  await startNoopNode(endpoint, node);
  process.stdout.write('ready\n');
}
