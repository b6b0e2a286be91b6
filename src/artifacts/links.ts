const MAX_HOPS = 40;

/**
 * Whether following a symbolic link could lead out of the tree it lies in: `path` is the link's own place, `links` all
 * symbolic links of the tree by their place. Links are followed as the kernel would, because a chain of links that
 * each look harmless can climb out (`deep/up -> ../..` and then `x -> deep/up/../etc`).
 */
export function leavesTree(path: string, target: string, links: ReadonlyMap<string, string>): boolean {
  if (target.startsWith('/')) return true;
  const pending = [...path.split('/').slice(0, -1), ...target.split('/')];
  const place: string[] = [];
  let hops = 0;
  for (let part = pending.shift(); part !== undefined; part = pending.shift()) {
    if (part === '' || part === '.') continue;
    if (part === '..') {
      if (place.pop() === undefined) return true;
      continue;
    }
    place.push(part);
    const next = links.get(place.join('/'));
    if (next === undefined) continue;
    if (next.startsWith('/')) return true;
    // A loop leads nowhere, so not out either.
    if (++hops > MAX_HOPS) return false;
    place.pop();
    pending.unshift(...next.split('/'));
  }
  return false;
}
