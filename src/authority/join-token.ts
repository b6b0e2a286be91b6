import { createHash } from 'node:crypto';

/**
 * What a new node is given by hand: `hop3join.SECRET.ENDS.FINGERPRINT`. The secret lets one node in, once; the
 * fingerprint tells it which authority to believe before it shows the secret to anybody. When it ends is only there to say
 * so: what decides is the store's lease, and the store knows secret and end together only as a hash.
 */
export interface JoinToken {
  /** base64url, 32 bytes. */
  secret: string;
  endsAt: Date;
  /** Of the authority's certificate, as `fingerprintOf` gives it. */
  fingerprint: string;
}

export function joinTokenText({ secret, endsAt, fingerprint }: JoinToken): string {
  return ['hop3join', secret, secondsOf(endsAt).toString(36), fingerprint].join('.');
}

/** Null when the text is no such token. */
export function parseJoinToken(text: string): JoinToken | null {
  const [, secret, ends, fingerprint] =
    /^hop3join\.([\w-]{43})\.([0-9a-z]{6,8})\.([\w-]{43})$/.exec(text.trim()) ?? [];
  if (secret === undefined || ends === undefined || fingerprint === undefined) return null;
  return { secret, endsAt: new Date(Number.parseInt(ends, 36) * 1000), fingerprint };
}

/** What the store keeps in its place. */
export function hashOfToken({ secret, endsAt }: JoinToken): string {
  return createHash('sha256')
    .update(`${secret}.${secondsOf(endsAt)}`)
    .digest('hex');
}

function secondsOf(date: Date): number {
  return Math.floor(date.getTime() / 1000);
}
