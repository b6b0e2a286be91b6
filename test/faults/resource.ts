import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Who wrote, under which token; several writes in a row by one are one. */
export interface Accepted {
  /** As the owner key is named: `instance/…`. */
  subject: string;
  token: bigint;
  node: string;
}

/** What a fenced resource does: it remembers the highest token it was shown, and refuses lower ones. */
export interface Resource {
  readonly url: string;
  /** Of stale writes, all of which it refused, since they were last asked for. */
  staleAttempts(): number;
  /** In order, since the world began. */
  readonly accepted: readonly Accepted[];
  close(): Promise<void>;
}

export async function startResource(): Promise<Resource> {
  const highest = new Map<string, bigint>();
  const lastOf = new Map<string, Accepted>();
  const accepted: Accepted[] = [];
  let stale = 0;
  const server = createServer((request, response) => {
    const subject = `instance${request.url ?? ''}`;
    const token = BigInt(String(request.headers['fencing-token'] ?? '0'));
    if (token < (highest.get(subject) ?? 0n)) {
      stale++;
      response.writeHead(409).end();
      return;
    }
    highest.set(subject, token);
    const write = { subject, token, node: String(request.headers['node'] ?? '') };
    const last = lastOf.get(subject);
    if (last?.token !== token || last.node !== write.node) {
      lastOf.set(subject, write);
      accepted.push(write);
    }
    response.writeHead(204).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    accepted,
    staleAttempts() {
      const attempts = stale;
      stale = 0;
      return attempts;
    },
    async close() {
      server.closeAllConnections();
      const closed = once(server, 'close');
      server.close();
      await closed;
    },
  };
}

/**
 * What was let in from a node that etcd never gave the subject under that token, or after a write of one that had it later: the
 * order is that in which the subject was taken, not that of the tokens.
 */
export function acceptedWrongly(
  accepted: readonly Accepted[],
  owners: readonly { subject: string; token: bigint | null; node: string | null }[],
): string[] {
  const latest = new Map<string, number>();
  return accepted.flatMap(({ subject, token, node }) => {
    const turn = owners.findIndex(
      each => each.subject === subject && each.token === token && each.node === node,
    );
    const what = `a write of ${subject} from ${node} with token ${token}`;
    if (turn === -1) return [`${what}, which never owned it`];
    const before = latest.get(subject) ?? -1;
    latest.set(subject, Math.max(before, turn));
    return turn < before ? [`${what}, after one of ${owners[before]!.node ?? ''}, who had it later`] : [];
  });
}
