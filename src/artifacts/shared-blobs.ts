import type { Digest, NodeName } from '../model/ids.ts';
import type { Endpoint } from '../model/node-promise.ts';
import { rendezvousOrder } from '../model/rendezvous.ts';
import { ArtifactError } from '../ports/artifacts.ts';
import type { Blobs } from '../ports/blobs.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { PeerCredentials } from '../ports/peers.ts';
import { digestOf, type BlobStore } from './blob-store.ts';
import { askPeer, type PeerRoom } from './peer-request.ts';
import { SingleFlight } from './single-flight.ts';
import { untilStalled } from './stall.ts';

/** A peer that says nothing for so long is passed over. */
const STALL_SECONDS = 3;
/** So many are tried for the second copy: whoever puts a blob waits for it. */
const TRIED_FOR_COPY = 3;

interface Peer {
  node: NodeName;
  peer: Endpoint;
}

/**
 * The blobs of a node together with those of the others: nobody writes down who has one. All nodes prefer the same ones for a
 * digest, so that its second copy is on the first of them that took it, and is asked for there first.
 */
export function sharedBlobs(options: {
  node: NodeName;
  local: BlobStore;
  /** The nodes in reach; this one may be among them. */
  peers: () => Peer[];
  tls: PeerCredentials | null;
  clock: Clock;
  log: Log;
}): Blobs {
  const { node, local, clock, log } = options;
  const room: PeerRoom = { clock, stallSeconds: STALL_SECONDS, tls: options.tls };
  const fetches = new SingleFlight<Uint8Array>();

  return {
    async put(bytes) {
      const digest = digestOf(bytes);
      if (!(await local.has(digest))) await local.receive(streamOf(bytes), digest);
      await copy(digest, bytes, new AbortController().signal);
      return { digest, bytes: bytes.length };
    },

    async get(digest, signal) {
      return (
        (await local.read(digest)) ?? (await fetches.run(digest, signal, shared => fetch(digest, shared)))
      );
    },

    async tend(inUse, signal) {
      const { removed, kept } = await local.collect(inUse);
      let copied = 0;
      for (const digest of kept) {
        if (!inUse.has(digest) || (await elsewhere(digest, signal)) || signal.aborted) continue;
        const bytes = await local.read(digest);
        if (bytes !== null && (await copy(digest, bytes, signal))) copied += 1;
      }
      return { removed, copied };
    },
  };

  async function fetch(digest: Digest, signal: AbortSignal): Promise<Uint8Array> {
    const failures: string[] = [];
    for (const { node: holder, peer } of others(digest)) {
      try {
        const answer = await askPeer(peer, { method: 'GET', path: pathOf(digest) }, room, signal);
        await local.receive(untilStalled(answer, clock, STALL_SECONDS * 1000, signal), digest);
        const bytes = await local.read(digest);
        if (bytes !== null) return bytes;
      } catch (error) {
        signal.throwIfAborted();
        failures.push(`${holder} (${peer.host}:${peer.port}): ${(error as Error).message}`);
      }
    }
    const reasons = failures.length === 0 ? 'no other node is in reach' : failures.join('; ');
    throw new ArtifactError(`cannot get ${digest} from another node: ${reasons}`, { retryable: true });
  }

  /** Whether one of those that would be asked first has it. */
  async function elsewhere(digest: Digest, signal: AbortSignal): Promise<boolean> {
    for (const { peer } of others(digest).slice(0, TRIED_FOR_COPY)) {
      const asked = askPeer(peer, { method: 'HEAD', path: pathOf(digest) }, room, signal);
      const has = await asked.then(
        () => true,
        () => false,
      );
      if (has) return true;
    }
    return false;
  }

  /** Gives whether another node took it; one that has it already does. */
  async function copy(digest: Digest, bytes: Uint8Array, signal: AbortSignal): Promise<boolean> {
    const failures: string[] = [];
    for (const { node: candidate, peer } of others(digest).slice(0, TRIED_FOR_COPY)) {
      try {
        await askPeer(peer, { method: 'PUT', path: pathOf(digest), body: bytes }, room, signal);
        return true;
      } catch (error) {
        if (signal.aborted) return false;
        failures.push(`${candidate}: ${(error as Error).message}`);
      }
    }
    if (failures.length > 0) log.warn('a blob has no second copy yet', { digest, failures });
    return false;
  }

  function others(digest: Digest): Peer[] {
    const peers = new Map(
      options
        .peers()
        .filter(peer => peer.node !== node)
        .map(peer => [peer.node, peer]),
    );
    return rendezvousOrder(digest, [...peers.keys()]).flatMap(name => peers.get(name) ?? []);
  }
}

function pathOf(digest: Digest): string {
  return `/blobs/${digest}`;
}

async function* streamOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield* [bytes];
  await Promise.resolve();
}
