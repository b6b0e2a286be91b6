/** One line of a writer: it was at work at this moment. */
export interface Sign {
  atMs: number;
  instance: string;
  token: bigint;
  node: string;
  /** When this run of it began: tells two runs under one token apart. */
  born: string;
}

/** One run of a writer, from its first sign to its last. */
export interface Span {
  instance: string;
  token: bigint;
  node: string;
  born: string;
  firstMs: number;
  lastMs: number;
}

export function signsOf(text: string): Sign[] {
  return text.split('\n').flatMap(line => {
    const [at, instance, token, node, born, ...more] = line.split(' ');
    // The last line may still be on its way.
    if (!at || !instance || !token || !node || !born || more.length > 0) return [];
    return [{ atMs: Number(at), instance, token: BigInt(token), node, born }];
  });
}

/** In the order in which they began. */
export function spansOf(signs: Sign[]): Span[] {
  const spans = new Map<string, Span>();
  for (const { atMs, instance, token, node, born } of signs) {
    const key = `${instance} ${token} ${node} ${born}`;
    const span = spans.get(key) ?? { instance, token, node, born, firstMs: atMs, lastMs: atMs };
    span.firstMs = Math.min(span.firstMs, atMs);
    span.lastMs = Math.max(span.lastMs, atMs);
    spans.set(key, span);
  }
  return [...spans.values()].sort((a, b) => a.firstMs - b.firstMs);
}

export interface Handovers {
  overlaps: string[];
  /** Between two runs that followed each other; null when nothing changed hands. */
  smallestGapMs: number | null;
}

/** Whether two runs of one instance were ever at work at one time. */
export function handovers(spans: Span[]): Handovers {
  const overlaps: string[] = [];
  let smallestGapMs: number | null = null;
  const latest = new Map<string, Span>();
  for (const span of spans.toSorted((a, b) => a.firstMs - b.firstMs)) {
    const before = latest.get(span.instance);
    if (before) {
      const gapMs = span.firstMs - before.lastMs;
      smallestGapMs = Math.min(smallestGapMs ?? Infinity, gapMs);
      if (gapMs <= 0) overlaps.push(`${nameOf(before)} and ${nameOf(span)}, by ${Math.round(-gapMs)} ms`);
    }
    if (!before || span.lastMs > before.lastMs) latest.set(span.instance, span);
  }
  return { overlaps, smallestGapMs };
}

/** A later run never has a lower token, and no token was ever given to two nodes. */
export function tokenTrouble(spans: Span[]): string[] {
  const trouble: string[] = [];
  const highest = new Map<string, Span>();
  const nodeOf = new Map<string, string>();
  for (const span of spans.toSorted((a, b) => a.firstMs - b.firstMs)) {
    const before = highest.get(span.instance);
    if (before && span.token < before.token) trouble.push(`${nameOf(span)} began after ${nameOf(before)}`);
    if (!before || span.token > before.token) highest.set(span.instance, span);
    const key = `${span.instance} ${span.token}`;
    const other = nodeOf.get(key) ?? span.node;
    if (other !== span.node) trouble.push(`${nameOf(span)} has the token of ${other}`);
    nodeOf.set(key, other);
  }
  return trouble;
}

/** What has become of an instance since a moment: another run of it began, and one on another node than it had been on. */
export function becameOf(
  spans: Span[],
  instance: string,
  sinceMs: number,
): { runAnew: boolean; takenOver: boolean } {
  const own = spans.filter(span => span.instance === instance);
  const before = own.filter(({ firstMs }) => firstMs <= sinceMs).at(-1);
  const since = own.filter(({ firstMs }) => firstMs > sinceMs);
  return {
    runAnew: before !== undefined && since.length > 0,
    takenOver: since.some(({ node }) => before !== undefined && node !== before.node),
  };
}

function nameOf({ instance, token, node }: Span): string {
  return `${instance} at ${node} with token ${token}`;
}
