import { readFileSync } from 'node:fs';
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { availableParallelism, totalmem } from 'node:os';

import { portText, type FixedPort } from '../model/app-spec.ts';
import type { NodeName } from '../model/ids.ts';
import { isLoopback } from '../model/node-config.ts';
import type { Host } from '../ports/host.ts';
import { describeHolder } from './port-holder.ts';

export function systemHost(options: { name: NodeName }): Host {
  // Agents that share a machine start looking in different places, so they seldom try the same port at once; and a
  // port is not given out again right after it was freed.
  let next = process.pid * 37;

  return {
    name: options.name,
    bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
    pid: process.pid,
    platform: `${process.platform}-${process.arch}-node${process.versions.node.split('.')[0] ?? ''}`,
    capacity: () => ({ memoryBytes: memoryBytes(), cpu: availableParallelism() }),

    async freePort(host, [first, last], taken) {
      const span = last - first + 1;
      for (let tried = 0; tried < span; tried++) {
        const port = first + (next++ % span);
        if (taken.has(port)) continue;
        if ((await canListen(host, port)) && (await canListen('0.0.0.0', port))) return port;
      }
      throw new Error(`no free port at ${host} in ${first}-${last}: widen the port range`);
    },

    async whyTaken(host, port) {
      // On an address of the loopback network a node is one of several on its machine; else the whole host is its own.
      for (const address of isLoopback(host) ? [host] : [host, '0.0.0.0']) {
        const code = await tried(address, port);
        if (code !== null) return await takenText(port, code);
      }
      return null;
    },
  };
}

/** A container's or service's own limit counts, when it has one. */
function memoryBytes(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

/** Many apps bind 0.0.0.0 whatever they are told, so callers ask for that as well. @throws Error */
async function canListen(host: string, number: number): Promise<boolean> {
  const code = await tried(host, { number, protocol: 'tcp' });
  if (code !== null && code !== 'EADDRINUSE' && code !== 'EACCES')
    throw new Error(`can't listen at ${host}: ${code}`);
  return code === null;
}

/** By really listening, for a moment: what the kernel says to that; null = it can be done. */
function tried(
  host: string,
  { number, protocol }: Pick<FixedPort, 'number' | 'protocol'>,
): Promise<string | null> {
  return new Promise(resolve => {
    const failed = (error: NodeJS.ErrnoException): void => resolve(error.code ?? error.message);
    if (protocol === 'udp') {
      const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
      socket.once('error', failed);
      socket.bind({ address: host, port: number, exclusive: true }, () => {
        socket.close();
        resolve(null);
      });
      return;
    }
    const server = createServer();
    server.once('error', failed);
    server.listen({ host, port: number, exclusive: true }, () => {
      // It is free again at once; only that this is over is told later.
      server.close();
      resolve(null);
    });
  });
}

async function takenText(port: Pick<FixedPort, 'number' | 'protocol'>, code: string): Promise<string> {
  const { number, protocol } = port;
  switch (code) {
    case 'EADDRINUSE': {
      const holder = protocol === 'tcp' ? await describeHolder(number).catch(() => null) : null;
      return `port ${portText(port)} is in use by ${holder ?? 'another program'}`;
    }
    case 'EACCES':
      return `port ${portText(port)} is one of those below 1024, and the agent is not root`;
    default:
      return `nothing can listen on port ${portText(port)}: ${code}`;
  }
}
