import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { DevOrder } from '../cli/daemon.ts';
import { CliFailure, EXIT } from '../cli/failure.ts';

export type GivenOrder = Exclude<DevOrder, { kind: 'start' }>;

/** What a unix socket's path may hold, less what the kernel needs. */
const PATH_BYTES_MAX = 100;

type Reply = { ok: string } | { error: string };

/** Hears orders to the development cluster of a state directory. Gives how to stop hearing. */
export async function listenForOrders(
  stateDir: string,
  perform: (order: GivenOrder) => Promise<string> | string,
): Promise<() => Promise<void>> {
  const path = socketPath(stateDir);
  await rm(path, { force: true });
  const sockets = new Set<Socket>();
  const answering = new Set<Promise<void>>();
  const server = createServer(socket => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    createInterface({ input: socket }).on('line', line => {
      const answered = answer(line, perform).then(reply => {
        socket.end(`${JSON.stringify(reply)}\n`);
        answering.delete(answered);
      });
      answering.add(answered);
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  return async () => {
    // Whoever asked for the end is still told that it comes.
    await Promise.all(answering);
    await new Promise<void>(resolve => {
      server.close(() => resolve());
      for (const socket of sockets) socket.end();
    });
  };
}

/** @throws CliFailure when there is no such cluster, or it could not do so */
export async function giveOrder(stateDir: string, order: GivenOrder): Promise<string> {
  const reply = await new Promise<Reply>((resolve, reject) => {
    const socket = connect(socketPath(stateDir));
    socket.once('error', error =>
      reject(
        new CliFailure(EXIT.unreachable, `no development cluster runs in ${stateDir}`, {
          hint: 'hop3-agent dev starts one; --state-dir names where another runs',
          cause: error,
        }),
      ),
    );
    socket.once('connect', () => {
      createInterface({ input: socket }).once('line', line => resolve(JSON.parse(line) as Reply));
      socket.write(`${JSON.stringify(order)}\n`);
    });
    socket.once('close', () =>
      reject(
        new CliFailure(EXIT.unreachable, `the development cluster in ${stateDir} ended without an answer`),
      ),
    );
  });
  if ('error' in reply) throw new CliFailure(EXIT.failed, reply.error);
  return reply.ok;
}

async function answer(
  line: string,
  perform: (order: GivenOrder) => Promise<string> | string,
): Promise<Reply> {
  try {
    return { ok: await perform(JSON.parse(line) as GivenOrder) };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

function socketPath(stateDir: string): string {
  const path = join(stateDir, 'dev.sock');
  if (Buffer.byteLength(path) <= PATH_BYTES_MAX) return path;
  return join(tmpdir(), `hop3-dev-${createHash('sha256').update(stateDir).digest('hex').slice(0, 16)}.sock`);
}
