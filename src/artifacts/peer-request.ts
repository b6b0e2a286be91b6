import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Endpoint } from '../model/node-promise.ts';
import type { Clock } from '../ports/clock.ts';
import type { PeerCredentials } from '../ports/peers.ts';

export interface PeerRoom {
  clock: Clock;
  /** A peer that sends nothing for so long is given up. */
  stallSeconds: number;
  /** null = plain HTTP, for peers on loopback. */
  tls: PeerCredentials | null;
}

/** What is sent may take its time, too. */
const LEAST_BYTES_PER_MS = 1000;

export interface PeerQuestion {
  method: 'GET' | 'HEAD' | 'PUT';
  path: string;
  body?: Uint8Array;
}

/** Another node's answer. @throws Error when it is not one of success, or none came in time */
export function askPeer(
  peer: Endpoint,
  question: PeerQuestion,
  room: PeerRoom,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  if (room.tls === null && !isLoopback(peer.host)) {
    return Promise.reject(new Error('it is asked over the network: that needs TLS, and peer.tls is not set'));
  }
  return new Promise((resolve, reject) => {
    const { method, path, body } = question;
    const options = { host: peer.host, port: peer.port, method, path, signal, agent: false };
    const request = room.tls ? httpsRequest({ ...options, ...room.tls }) : httpRequest(options);
    const patienceMs = room.stallSeconds * 1000 + (body?.length ?? 0) / LEAST_BYTES_PER_MS;
    const cancel = room.clock.after(patienceMs, () =>
      request.destroy(new Error(`no answer within ${room.stallSeconds} s`)),
    );
    request.once('error', error => {
      cancel();
      reject(error);
    });
    request.once('response', response => {
      cancel();
      const status = response.statusCode ?? 0;
      // Nobody reads an answer that has nothing in it.
      if (question.method !== 'GET') response.resume();
      if (status >= 200 && status < 300) {
        resolve(response);
        return;
      }
      response.resume();
      reject(new Error(`HTTP ${response.statusCode ?? 'without status'}`));
    });
    request.end(body);
  });
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}
