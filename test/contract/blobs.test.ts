import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { BlobStore } from '../../src/artifacts/blob-store.ts';
import { serveBlobs } from '../../src/artifacts/serve-blobs.ts';
import { sharedBlobs } from '../../src/artifacts/shared-blobs.ts';
import { ArtifactError } from '../../src/ports/artifacts.ts';
import type { Blobs } from '../../src/ports/blobs.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { never, realClock, temporaryDirectory } from '../artifacts/helpers.ts';
import { FakeBlobs } from '../support/fake-blobs.ts';
import { FakeLog } from '../support/fake-log.ts';

/** Three nodes that reach each other. */
interface World {
  nodes: Node[];
  advance: (durationMs: number) => void;
}

interface Node {
  blobs: Blobs;
  /** How many it has itself. */
  held(): Promise<number>;
  /** Its power is cut, and its disk lost. */
  lose(): Promise<void>;
}

const MINUTE_MS = 60_000;

/** Sleeps in real time, but tells a time that moves when told to. */
function movableClock(): { clock: Clock; advance: (durationMs: number) => void } {
  let aheadMs = 0;
  return {
    clock: { ...realClock, now: () => realClock.now() + aheadMs },
    advance: durationMs => void (aheadMs += durationMs),
  };
}

function fakeWorld(): World {
  const { clock, advance } = movableClock();
  const all = [1, 2, 3].map(() => new FakeBlobs(clock));
  for (const one of all) one.others = all.filter(other => other !== one);
  return {
    advance,
    nodes: all.map(blobs => ({
      blobs,
      held: () => Promise.resolve(blobs.held.size),
      lose: () => {
        for (const other of all) other.others = other.others.filter(one => one !== blobs);
        return Promise.resolve();
      },
    })),
  };
}

interface RealNode extends Node {
  name: string;
  directory: string;
  peer: { host: string; port: number };
}

async function realWorld(t: ExecutionContext): Promise<World & { nodes: RealNode[] }> {
  const { clock, advance } = movableClock();
  const reachable: { node: string; peer: { host: string; port: number } }[] = [];
  const nodes: RealNode[] = [];
  for (const name of ['node-1', 'node-2', 'node-3']) {
    const stateDir = await temporaryDirectory(t);
    const directory = join(stateDir, 'blobs');
    const local = new BlobStore(stateDir, clock);
    const server = createServer(serveBlobs(local, (_request, response) => response.writeHead(418).end()));
    server.listen(0, '127.0.0.1');
    await new Promise(resolve => server.once('listening', resolve));
    t.teardown(() => close(server));
    const peer = { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
    reachable.push({ node: name, peer });
    const log = new FakeLog();
    nodes.push({
      name,
      directory,
      peer,
      blobs: sharedBlobs({ node: name, local, peers: () => reachable, tls: null, clock, log }),
      held: async () => (await readdir(directory).catch(() => [])).length,
      lose: async () => {
        close(server);
        await rm(directory, { recursive: true, force: true });
        reachable.splice(
          reachable.findIndex(({ node }) => node === name),
          1,
        );
      },
    });
  }
  return { nodes, advance };
}

function close(server: Server): void {
  server.closeAllConnections();
  server.close();
}

const worlds: Record<string, (t: ExecutionContext) => Promise<World>> = {
  fake: () => Promise.resolve(fakeWorld()),
  real: realWorld,
};

const absent = `sha256:${'0'.repeat(64)}`;

for (const [name, make] of Object.entries(worlds)) {
  test(`${name}: what one node was given, any node gives back, byte for byte`, async t => {
    const { nodes } = await make(t);
    const inputs = Array.from({ length: 20 }, (_, number) => Buffer.alloc(1000 * number, `blob ${number} `));
    const puts = await Promise.all(inputs.map(bytes => nodes[0]!.blobs.put(bytes)));
    t.is(new Set(puts.map(({ digest }) => digest)).size, 20);
    for (const [index, { digest, bytes }] of puts.entries()) {
      t.is(bytes, inputs[index]!.length);
      for (const node of nodes) t.deepEqual(Buffer.from(await node.blobs.get(digest, never)), inputs[index]);
    }
  });

  test(`${name}: what is put is on two nodes, so that the loss of either loses nothing`, async t => {
    for (const lost of [0, 1, 2]) {
      const { nodes } = await make(t);
      const { digest } = await nodes[0]!.blobs.put(Buffer.from('kept twice'));
      const held = await Promise.all(nodes.map(node => node.held()));
      t.is(
        held.reduce((sum, count) => sum + count, 0),
        2,
      );
      t.is(held[0], 1);
      await nodes[lost]!.lose();
      for (const node of nodes.filter((_, index) => index !== lost)) {
        t.is(Buffer.from(await node.blobs.get(digest, never)).toString(), 'kept twice');
      }
    }
  });

  test(`${name}: what has lost its second copy gets another one`, async t => {
    const { nodes } = await make(t);
    const { digest } = await nodes[0]!.blobs.put(Buffer.from('kept twice'));
    t.deepEqual(await nodes[0]!.blobs.tend(new Set([digest]), never), { removed: 0, copied: 0 });
    const second = (await nodes[1]!.held()) === 1 ? 1 : 2;
    await nodes[second]!.lose();
    t.deepEqual(await nodes[0]!.blobs.tend(new Set([digest]), never), { removed: 0, copied: 1 });
    t.is(await nodes[3 - second]!.held(), 1);
    t.deepEqual(await nodes[0]!.blobs.tend(new Set([digest]), never), { removed: 0, copied: 0 });
  });

  test(`${name}: what nobody has is an error that says so`, async t => {
    const { nodes } = await make(t);
    const error = await t.throwsAsync(nodes[0]!.blobs.get(absent, never), { instanceOf: ArtifactError });
    t.regex(error.message, /cannot get sha256:0+ from another node/);
    t.true(error.retryable);
  });

  test(`${name}: it goes a quarter of an hour after it was named last, and not before`, async t => {
    const { nodes, advance } = await make(t);
    const { blobs } = nodes[0]!;
    const { digest } = await blobs.put(Buffer.from('named'));
    const none = new Set<string>();
    t.is((await blobs.tend(new Set([digest]), never)).removed, 0);
    await blobs.put(Buffer.from('never named'));
    advance(60 * MINUTE_MS);
    t.is((await blobs.tend(new Set([digest]), never)).removed, 0, 'seen without a name for the first time');
    advance(16 * MINUTE_MS);
    t.is((await blobs.tend(new Set([digest]), never)).removed, 1);
    t.is((await blobs.tend(none, never)).removed, 0);
    advance(14 * MINUTE_MS);
    t.is((await blobs.tend(none, never)).removed, 0);
    await blobs.get(digest, never);
    advance(2 * MINUTE_MS);
    t.is((await blobs.tend(none, never)).removed, 0, 'somebody has just asked for it');
    advance(16 * MINUTE_MS);
    t.is((await blobs.tend(none, never)).removed, 1);
    t.is(await nodes[0]!.held(), 0);
  });

  test(`${name}: whoever has given up waits no longer`, async t => {
    const { nodes } = await make(t);
    const given = AbortSignal.abort(new Error('given up'));
    await t.throwsAsync(nodes[0]!.blobs.get(absent, given), { message: 'given up' });
  });
}

test('what has been damaged on the disk is got from the other node that has it', async t => {
  const { nodes } = await realWorld(t);
  const { digest } = await nodes[0]!.blobs.put(Buffer.from('whole'));
  await writeFile(join(nodes[0]!.directory, digest.slice('sha256:'.length)), 'rotten');
  t.is(Buffer.from(await nodes[0]!.blobs.get(digest, never)).toString(), 'whole');
});

test('a node takes no other bytes than those of the digest', async t => {
  const { nodes } = await realWorld(t);
  const { host, port } = nodes[0]!.peer;
  const put = (body: string) => fetch(`http://${host}:${port}/blobs/${absent}`, { method: 'PUT', body });
  t.is((await put('something else')).status, 400);
  t.is(await nodes[0]!.held(), 0);
  const elsewhere = await fetch(`http://${host}:${port}/blobs/../artifacts`);
  t.is(elsewhere.status, 418, 'what is no blob is answered by others');
});

test('a node alone keeps what it can', async t => {
  const { nodes } = await realWorld(t);
  await nodes[1]!.lose();
  await nodes[2]!.lose();
  const { digest } = await nodes[0]!.blobs.put(Buffer.from('alone'));
  t.is(Buffer.from(await nodes[0]!.blobs.get(digest, never)).toString(), 'alone');
});
