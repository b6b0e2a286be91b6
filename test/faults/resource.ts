import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What a fenced resource does: it remembers the highest token it was shown, and refuses lower ones. */
export interface Resource {
  readonly url: string;
  /** Since they were last asked for. */
  counts(): { accepted: number; stale: number; staleAccepted: number };
  close(): Promise<void>;
}

export async function startResource(): Promise<Resource> {
  const highest = new Map<string, bigint>();
  /** What was let in, kept apart from what decides: in order, the token of each accepted write. */
  const accepted = new Map<string, bigint[]>();
  let stale = 0;
  const server = createServer((request, response) => {
    const subject = request.url ?? '';
    const token = BigInt(String(request.headers['fencing-token'] ?? '0'));
    const known = highest.get(subject) ?? 0n;
    if (token < known) {
      stale++;
      response.writeHead(409).end();
      return;
    }
    highest.set(subject, token);
    accepted.set(subject, [...(accepted.get(subject) ?? []).slice(-1), token]);
    writes++;
    const [before, last] = accepted.get(subject)!;
    if (last !== undefined && before! > last) staleAccepted++;
    response.writeHead(204).end();
  });
  let writes = 0;
  let staleAccepted = 0;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    counts() {
      const counts = { accepted: writes, stale, staleAccepted };
      writes = stale = staleAccepted = 0;
      return counts;
    },
    async close() {
      server.closeAllConnections();
      const closed = once(server, 'close');
      server.close();
      await closed;
    },
  };
}
