import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Digest } from '../model/ids.ts';
import type { Endpoint } from '../model/node-promise.ts';
import { ArtifactError } from '../ports/artifacts.ts';
import type { Clock } from '../ports/clock.ts';
import type { PeerCredentials } from '../ports/peers.ts';
import type { ContentStore } from './cas.ts';
import { untilStalled } from './stall.ts';

export interface PeerRoom {
  store: ContentStore;
  clock: Clock;
  /** A peer that sends nothing for so long is given up. */
  stallSeconds: number;
  /** null = plain HTTP, for peers on loopback. */
  tls: PeerCredentials | null;
}

/**
 * Asks the holders in order for an artifact and keeps the first copy whose bytes have the digest.
 * @throws ArtifactError naming each holder and why it failed
 */
export async function fetchFromPeers(
  digest: Digest,
  holders: { node: string; peer: Endpoint }[],
  room: PeerRoom,
  signal: AbortSignal,
): Promise<void> {
  const failures: string[] = [];
  for (const { node, peer } of holders) {
    try {
      const body = await get(peer, `/artifacts/${digest}`, room, signal);
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

function get(peer: Endpoint, path: string, room: PeerRoom, signal: AbortSignal): Promise<IncomingMessage> {
  if (room.tls === null && !isLoopback(peer.host)) {
    return Promise.reject(new Error('it is asked over the network: that needs TLS, and peer.tls is not set'));
  }
  return new Promise((resolve, reject) => {
    const options = { host: peer.host, port: peer.port, path, signal, agent: false };
    const request = room.tls ? httpsRequest({ ...options, ...room.tls }) : httpRequest(options);
    const cancel = room.clock.after(room.stallSeconds * 1000, () =>
      request.destroy(new Error(`no answer within ${room.stallSeconds} s`)),
    );
    request.once('error', error => {
      cancel();
      reject(error);
    });
    request.once('response', response => {
      cancel();
      if (response.statusCode === 200) {
        resolve(response);
        return;
      }
      response.resume();
      reject(new Error(`HTTP ${response.statusCode ?? 'without status'}`));
    });
    request.end();
  });
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}
