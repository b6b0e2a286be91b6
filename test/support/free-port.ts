import { once } from 'node:events';
import { createServer } from 'node:net';

/** Above the last port that `fetch` refuses for safety (10080), below those that the kernel gives to outgoing connections, which would take one before it is listened on. */
const FIRST = 10_100;
const COUNT = 9_900;
/** Test files run side by side: each process looks from a place of its own. */
let next = (process.pid * 131) % COUNT;

/** A TCP port on 127.0.0.1 that nobody listened on a moment ago, and that this process was not given before. */
export async function freePort(): Promise<number> {
  for (let tried = 0; tried < COUNT; tried++) {
    const port = FIRST + (next++ % COUNT);
    if (await canListen(port)) return port;
  }
  throw new Error(`no port is free in ${FIRST}-${FIRST + COUNT - 1}`);
}

async function canListen(port: number): Promise<boolean> {
  const server = createServer();
  server.listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
