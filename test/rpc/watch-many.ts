/** Watches one plan on many streams, until it ends. Arguments: address, streams. Prints one line once all have begun, and one at the end. */
import { credentials, makeClientConstructor, type ClientReadableStream } from '@grpc/grpc-js';
import { services } from '../../src/rpc/descriptors.ts';
import { endOf, type Message } from './helpers.ts';

const STREAMS_EACH = 500;
const [address = '', count = '1'] = process.argv.slice(2);
const Scheduler = makeClientConstructor(services.scheduler, 'Scheduler');
const last = new Map<ClientReadableStream<Message>, unknown>();
let changes = 0;
let begun = 0;
const ends: Promise<{ code: string }>[] = [];
for (let made = 0; made < Number(count); made += STREAMS_EACH) {
  const client = new Scheduler(address, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
  });
  const watch = client['Watch'] as (request: object) => ClientReadableStream<Message>;
  for (let each = made; each < Math.min(made + STREAMS_EACH, Number(count)); each++) {
    const stream = watch.call(client, { plan: 'plan-1' });
    stream.once('data', () => {
      begun++;
      if (begun === Number(count)) process.stdout.write('begun\n');
    });
    stream.on('data', (reply: Message) => {
      for (const { step } of reply['changes'] as { step?: Message }[]) {
        changes++;
        if (step) last.set(stream, step['attempt']);
      }
    });
    ends.push(endOf(stream));
  }
}
const codes = new Set((await Promise.all(ends)).map(({ code }) => code));
const attempts = [...new Set(last.values())];
process.stdout.write(`${JSON.stringify({ ends: [...codes], heard: last.size, attempts, changes })}\n`, () =>
  process.exit(0),
);
