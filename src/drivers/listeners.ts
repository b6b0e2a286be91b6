import { closeSync, openSync, readSync } from 'node:fs';

import type { Clock } from '../ports/clock.ts';

/** Of IPv4 and IPv6; a socket for both is in the second alone. */
const TABLES = ['/proc/net/tcp', '/proc/net/tcp6'];
const ROW = /^ *\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]{2}) /gm;
const LISTENS = '0A';
const CHUNK_BYTES = 16 * 1024;
/** Those who ask at about the same time are answered from one look. */
const KEEP_MS = 5;

/** Tells on which TCP ports of this machine's network somebody listens; null = that can't be seen here. */
export function listeners(
  clock: Clock,
  tables: readonly string[] = TABLES,
): () => ReadonlySet<number> | null {
  let seen: ReadonlySet<number> | null = null;
  let seenMs = -Infinity;
  return () => {
    if (clock.now() - seenMs >= KEEP_MS) {
      // Without IPv6 there is no table of it.
      const found = tables.map(portsIn).filter(ports => ports !== null);
      seen = found.length === 0 ? null : new Set(found.flat());
      seenMs = clock.now();
    }
    return seen;
  };
}

/** The kernel tells who listens before it tells of connections, of which there may be very many. null = no such table. */
function portsIn(table: string): number[] | null {
  let descriptor: number | null = null;
  try {
    descriptor = openSync(table, 'r');
    const buffer = Buffer.alloc(CHUNK_BYTES);
    const ports: number[] = [];
    let rest = '';
    for (;;) {
      const length = readSync(descriptor, buffer);
      const text = rest + buffer.toString('latin1', 0, length);
      rest = text.slice(text.lastIndexOf('\n') + 1);
      for (const [, port = '', state] of text.matchAll(ROW)) {
        if (state !== LISTENS) return ports;
        ports.push(Number.parseInt(port, 16));
      }
      if (length === 0) return ports;
    }
  } catch {
    return null;
  } finally {
    if (descriptor !== null) closeSync(descriptor);
  }
}
