import type { Digest } from '../model/ids.ts';
import type { Endpoint } from '../model/node-promise.ts';
import { ArtifactError } from '../ports/artifacts.ts';
import type { ContentStore } from './cas.ts';
import { askPeer, type PeerRoom } from './peer-request.ts';
import { untilStalled } from './stall.ts';

/**
 * Asks the holders in order for an artifact and keeps the first copy whose bytes have the digest.
 * @throws ArtifactError naming each holder and why it failed
 */
export async function fetchFromPeers(
  digest: Digest,
  holders: { node: string; peer: Endpoint }[],
  room: PeerRoom & { store: ContentStore },
  signal: AbortSignal,
): Promise<void> {
  const failures: string[] = [];
  for (const { node, peer } of holders) {
    try {
      const body = await askPeer(peer, { method: 'GET', path: `/artifacts/${digest}` }, room, signal);
      await room.store.put(untilStalled(body, room.clock, room.stallSeconds * 1000, signal), digest);
      return;
    } catch (error) {
      signal.throwIfAborted();
      failures.push(`${node} (${peer.host}:${peer.port}): ${(error as Error).message}`);
    }
  }
  const reasons = failures.length === 0 ? 'no node promises to hold it' : failures.join('; ');
  throw new ArtifactError(`cannot get ${digest} from a peer: ${reasons}`, { retryable: true });
}
