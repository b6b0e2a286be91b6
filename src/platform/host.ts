import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { availableParallelism, totalmem } from 'node:os';

import type { NodeName } from '../model/ids.ts';
import type { Host } from '../ports/host.ts';

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
  };
}

/** A container's or service's own limit counts, when it has one. */
function memoryBytes(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

/** Tried by really listening. Many apps bind 0.0.0.0 whatever they are told, so callers ask for that as well. */
function canListen(host: string, port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE' || error.code === 'EACCES') resolve(false);
      else reject(new Error(`can't listen at ${host}: ${error.message}`, { cause: error }));
    });
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
