/**
 * Watches one plan on many connections, until it ends. Arguments: address, connections. Prints one line once all have begun, and one
 * at the end. Few are begun at a time: the server gives up a connection that takes long to say what it wants, and this process may
 * be slow.
 */
import { get, type IncomingMessage } from 'node:http';
import { eventsIn } from '../../src/api/client-stream.ts';
import type { PlanChange } from '../../src/model/plan-views.ts';

const AT_A_TIME = 50;
const [address = '', count = '1'] = process.argv.slice(2);
const statuses = new Set<number>();
const last: number[] = [];
let changes = 0;
let begun = 0;

async function begin(place: number): Promise<{ ended: Promise<void> }> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(`${address}/v1/plans/plan-1/events`, { agent: false }, resolve).on('error', reject);
  });
  statuses.add(response.statusCode ?? 0);
  response.setEncoding('utf8');
  return { ended: listen(response, place) };
}

async function listen(response: IncomingMessage, place: number): Promise<void> {
  let first = true;
  for await (const { value } of eventsIn<PlanChange>(response)) {
    if (first && ++begun === Number(count)) process.stdout.write('begun\n');
    first = false;
    changes++;
    if (value?.kind === 'step') last[place] = value.step.attempt;
  }
}

const watches: Promise<void>[] = [];
while (watches.length < Number(count)) {
  const places = Array.from(
    { length: Math.min(AT_A_TIME, Number(count) - watches.length) },
    (_, index) => watches.length + index,
  );
  const some = await Promise.all(places.map(begin));
  watches.push(...some.map(({ ended }) => ended));
}
await Promise.all(watches);
const heard = Object.keys(last).length;
const report = { ends: [...statuses], heard, attempts: [...new Set(last)], changes };
process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0));
