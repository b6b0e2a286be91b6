/**
 * Rendezvous hashing (Thaler & Ravishankar 1998): every node ranks all members for a key alike, and a member that
 * leaves changes only the keys it had. Not a cryptographic hash.
 */
function rendezvousScore(key: string, member: string): number {
  let high = 0xdeadbeef;
  let low = 0x41c6ce57;
  const text = `${key}\u0000${member}`;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    high = Math.imul(high ^ code, 2654435761);
    low = Math.imul(low ^ code, 1597334677);
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909);
  low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909);
  return 4294967296 * (2097151 & low) + (high >>> 0);
}

/** Members in the order this key prefers them. */
export function rendezvousOrder(key: string, members: readonly string[]): string[] {
  return members
    .map(member => ({ member, score: rendezvousScore(key, member) }))
    .sort((a, b) => b.score - a.score || (a.member < b.member ? -1 : 1))
    .map(({ member }) => member);
}
