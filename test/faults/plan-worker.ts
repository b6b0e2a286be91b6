/** A remote worker as a process of its own, which asks the address that is its step's resource (`RPC-ADDRESS NAME`). */
import { credentials, makeClientConstructor, type ClientDuplexStream } from '@grpc/grpc-js';
import { services } from '../../src/rpc/descriptors.ts';

interface Assign {
  attempt: { token: string };
  resource: string;
  idempotencyKey: string;
}
type Message = Record<string, unknown>;

const [, , address = '', name = ''] = process.argv;
const Client = makeClientConstructor(services.work, 'work');
const client = new Client(address, credentials.createInsecure());
const work = client['Work'] as unknown as () => ClientDuplexStream<Message, Message>;

connect();

function connect(): void {
  const stream = work.call(client);
  stream.on('data', (message: Message) => {
    if ('welcome' in message) process.stdout.write('ready\n');
    if ('ping' in message) stream.write({ heartbeat: {} });
    if ('assign' in message) void make(stream, message['assign'] as Assign);
  });
  // Its node may be the one that is killed.
  stream.on('error', () => setTimeout(connect, 500));
  stream.write({ hello: { name, agents: ['remote'], slots: 64 } });
}

async function make(
  stream: ClientDuplexStream<Message, Message>,
  { attempt, resource, idempotencyKey }: Assign,
): Promise<void> {
  const headers = { 'fencing-token': attempt.token, 'idempotency-key': idempotencyKey };
  try {
    const { ok, status } = await fetch(resource, { method: 'POST', headers });
    if (!ok) throw new Error(`it was answered ${status}`);
    stream.write({ result: { attempt, completed: {} } });
  } catch (error) {
    const failed = { type: 'FAILURE_TYPE_RETRYABLE', error: String(error) };
    if (stream.writable) stream.write({ result: { attempt, failed } });
  }
}
