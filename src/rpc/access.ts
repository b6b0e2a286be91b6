import { createHash, timingSafeEqual } from 'node:crypto';
import { ServerInterceptingCall, status, type ServerInterceptor } from '@grpc/grpc-js';

/** Whoever asks for health has no token: it says nothing about the cluster. */
const OPEN = '/grpc.health.v1.Health/';

/** Lets in who shows one of the tokens; without tokens, everybody who reaches the port. */
export function tokenGuard(tokens: readonly string[]): ServerInterceptor {
  const hashes = tokens.map(sha256);
  return ({ path }, next) =>
    new ServerInterceptingCall(next, {
      start: begin =>
        begin({
          onReceiveMetadata: (metadata, pass) => {
            const refusal =
              hashes.length === 0 || path.startsWith(OPEN)
                ? null
                : refused(metadata.get('authorization'), hashes);
            if (refusal === null) pass(metadata);
            else next.sendStatus({ code: status.UNAUTHENTICATED, details: refusal });
          },
        }),
    });
}

/** Hashes have one length and no resemblance, so the time a comparison takes tells nothing. */
function refused(authorization: (string | Buffer)[], hashes: readonly Buffer[]): string | null {
  const given = /^Bearer +(\S+) *$/i.exec(String(authorization[0] ?? ''))?.[1];
  if (given === undefined) return 'a bearer token is needed in the metadata "authorization"';
  const hash = sha256(given);
  const known = hashes.filter(other => timingSafeEqual(hash, other)).length > 0;
  return known ? null : 'the bearer token is not known here';
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
