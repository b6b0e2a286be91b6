import { once } from 'node:events';
import { createServer, type Server } from 'node:net';

/**
 * Above the last port that `fetch` refuses for safety (10080), below those that `hop3-agent dev` gives to apps, and below
 * those that the kernel gives to outgoing connections, which would take one before it is listened on.
 */
const FIRST = 10_100;
const END = 25_000;
const BLOCK = 50;
const BLOCKS = (END - FIRST) / BLOCK;
/** Of a node, for its instances, with room for those that start while others end. */
const PORTS_OF_APPS = 100;

let nextBlock = (process.pid * 61) % BLOCKS;
/** Blocks for single ports, the one in use last. */
const singles: number[] = [];
let next = 0;
let end = 0;
/** Whoever asked before. */
let line: Promise<unknown> = Promise.resolve();
const ranges = new Map<number, Promise<PortRange>>();

export type PortRange = [first: number, last: number];

/** A TCP port on 127.0.0.1 that nobody listened on a moment ago, and that no other process of the tests is given. */
export function freePort(): Promise<number> {
  const port = line.then(take);
  line = port.catch(() => null);
  return port;
}

/** What the instances of a cluster's nth node listen on; another cluster of this process has the same. */
export function appPorts(node: number): Promise<PortRange> {
  const known = ranges.get(node);
  if (known !== undefined) return known;
  const range = freePorts(PORTS_OF_APPS).then((first): PortRange => [first, first + PORTS_OF_APPS - 1]);
  ranges.set(node, range);
  return range;
}

/**
 * The first of so many ports in a row that are this process's own until it ends: test files run side by side, and there is time
 * between being given a port and listening on it. Programs that are no tests may use some of them.
 */
export async function freePorts(count: number): Promise<number> {
  const first = await claimed(count);
  if (first === null) throw new Error(`no ${count} ports in a row are left of ${FIRST}-${END - 1}`);
  return first;
}

async function take(): Promise<number> {
  for (let again = 0; ;) {
    for (; next < end; next++) if (await canListen(next)) return next++;
    let block = await claimed(BLOCK);
    if (block === null) {
      // Whoever has used up all there are uses its own again, each once.
      block = again++ < singles.length ? singles.shift()! : null;
    }
    if (block === null) throw new Error(`no port is left of ${FIRST}-${END - 1}`);
    singles.push(block);
    next = block;
    end = block + BLOCK;
  }
}

async function claimed(count: number): Promise<number | null> {
  const blocks = Math.ceil(count / BLOCK);
  for (let tried = 0; tried < BLOCKS; tried++) {
    const first = nextBlock++ % BLOCKS;
    if (first + blocks <= BLOCKS && (await claim(first, blocks))) return FIRST + first * BLOCK;
  }
  return null;
}

async function claim(first: number, blocks: number): Promise<boolean> {
  const claims: Server[] = [];
  for (let block = first; block < first + blocks; block++) {
    // A name in the kernel rather than a file: it goes with the process that holds it, however that ends.
    const held = await listening({ path: `\0hop3-agent-test-ports-${FIRST + block * BLOCK}` });
    if (held === null) {
      for (const each of claims) each.close();
      return false;
    }
    claims.push(held.unref());
  }
  return true;
}

async function canListen(port: number): Promise<boolean> {
  const server = await listening({ port, host: '127.0.0.1' });
  if (server === null) return false;
  server.close();
  await once(server, 'close');
  return true;
}

async function listening(at: { path: string } | { port: number; host: string }): Promise<Server | null> {
  const server = createServer();
  server.listen(at);
  try {
    await once(server, 'listening');
    return server;
  } catch {
    return null;
  }
}
