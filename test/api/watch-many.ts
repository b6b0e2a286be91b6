/**
 * Watches one plan on many connections, until it ends. Arguments: address, connections. Prints one line once all have begun, and one
 * at the end.
 */
import { get, type IncomingMessage } from 'node:http';
import { eventsIn } from '../../src/api/client-stream.ts';
import type { PlanChange } from '../../src/model/plan-views.ts';

const [address = '', count = '1'] = process.argv.slice(2);
const statuses = new Set<number>();
const last: number[] = [];
let changes = 0;
let begun = 0;

async function watch(place: number): Promise<void> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(`${address}/v1/plans/plan-1/events`, { agent: false }, resolve).on('error', reject);
  });
  statuses.add(response.statusCode ?? 0);
  response.setEncoding('utf8');
  let first = true;
  for await (const { value } of eventsIn<PlanChange>(response)) {
    if (first && ++begun === Number(count)) process.stdout.write('begun\n');
    first = false;
    changes++;
    if (value?.kind === 'step') last[place] = value.step.attempt;
  }
}

await Promise.all(Array.from({ length: Number(count) }, (_, place) => watch(place)));
const heard = Object.keys(last).length;
const report = { ends: [...statuses], heard, attempts: [...new Set(last)], changes };
process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0));
