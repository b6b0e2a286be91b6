/**
 * Whether a history of one register could have happened one operation at a time (Wing and Gong's search, with Lowe's memory of
 * what was tried). Values are never written twice, so a compare-and-swap is told by the value that it replaced.
 */
export type Operation = { startMs: number; endMs: number } & (
  | { kind: 'read'; value: string | null }
  /** Whatever was there. One whose outcome nobody knows: see `settled`. */
  | { kind: 'write'; to: string }
  | { kind: 'swap'; from: string | null; to: string; outcome: 'done' }
  /** `found` is what it said was there instead. */
  | { kind: 'swap'; from: string | null; to: string; outcome: 'refused'; found: string | null }
  /** May have happened at any time since it began, or never; `endMs` does not count. */
  | { kind: 'swap'; from: string | null; to: string; outcome: 'unknown' }
);

interface Node {
  operation: Operation;
  index: number;
  /** A call, or the return of the call `match`. */
  match: Node | null;
  isReturn: boolean;
  before: Node | null;
  after: Node | null;
}

/** Null when it is linearizable, else the operation that could be placed nowhere. */
export function notLinearizable(operations: Operation[], initial: string | null): Operation | null {
  const head = linked(operations.toSorted((a, b) => a.startMs - b.startMs));
  const must = operations.filter(operation => !isOpen(operation)).length;
  const done = new Set<number>();
  const tried = new Set<string>();
  const chosen: { call: Node; state: string | null }[] = [];
  let state = initial;
  let placed = 0;
  let furthest: Operation | null = null;
  let mostPlaced = -1;
  let entry = head.after;
  while (placed < must) {
    if (entry !== null && !entry.isReturn) {
      const next = after(entry.operation, state);
      if (next !== undefined && remember(tried, done, entry.index, next)) {
        chosen.push({ call: entry, state });
        state = next;
        done.add(entry.index);
        if (!isOpen(entry.operation)) placed++;
        lift(entry);
        entry = head.after;
      } else {
        entry = entry.after;
      }
      continue;
    }
    // Something returned that could not be placed before: what was chosen last was wrong.
    if (placed > mostPlaced) {
      mostPlaced = placed;
      furthest = entry?.operation ?? furthest;
    }
    const last = chosen.pop();
    if (!last) return furthest ?? operations[0] ?? null;
    state = last.state;
    done.delete(last.call.index);
    if (!isOpen(last.call.operation)) placed--;
    unlift(last.call);
    entry = last.call.after;
  }
  return null;
}

/**
 * Writes that nobody answered for, as far as the reads tell of them: what was read has been written before the first read of it
 * was over, and what never was need not have been. So none is left open, and the search stays short.
 */
export function settled(unanswered: { to: string; startMs: number }[], reads: Operation[]): Operation[] {
  const firstEndMs = new Map<string, number>();
  for (const { value, endMs } of reads.filter(operation => operation.kind === 'read')) {
    if (value !== null) firstEndMs.set(value, Math.min(endMs, firstEndMs.get(value) ?? Infinity));
  }
  return unanswered.flatMap(({ to, startMs }) => {
    const endMs = firstEndMs.get(to);
    // Read before it began: that the search finds out.
    return endMs === undefined ? [] : [{ kind: 'write', to, startMs, endMs: Math.max(startMs, endMs) }];
  });
}

/** The value after it; undefined when it can't happen in this state. */
function after(operation: Operation, state: string | null): string | null | undefined {
  if (operation.kind === 'read') return operation.value === state ? state : undefined;
  if (operation.kind === 'swap' && operation.outcome === 'refused') {
    return operation.found === state && state !== operation.from ? state : undefined;
  }
  return operation.kind === 'write' || operation.from === state ? operation.to : undefined;
}

function isOpen(operation: Operation): boolean {
  return operation.kind === 'swap' && operation.outcome === 'unknown';
}

/** False when the same set was placed with the same result before. */
function remember(tried: Set<string>, done: Set<number>, index: number, state: string | null): boolean {
  // Nearly all that began before the first that is missing is there: only the rest tells two sets apart.
  let first = 0;
  while (done.has(first) || first === index) first++;
  const rest = [...done, index].filter(each => each > first).sort((a, b) => a - b);
  const key = `${first}: ${rest.join(',')} ${state ?? ''}`;
  if (tried.has(key)) return false;
  tried.add(key);
  return true;
}

/** Calls and returns in order of time; what is open never returns. */
function linked(operations: Operation[]): Node {
  const nodes = operations.flatMap((operation, index) => {
    const call: Node = { operation, index, match: null, isReturn: false, before: null, after: null };
    if (isOpen(operation)) return [{ atMs: operation.startMs, node: call }];
    call.match = { operation, index, match: null, isReturn: true, before: null, after: null };
    return [
      { atMs: operation.startMs, node: call },
      { atMs: operation.endMs, node: call.match },
    ];
  });
  // At one and the same moment calls come first: they may have overlapped.
  nodes.sort((a, b) => a.atMs - b.atMs || Number(a.node.isReturn) - Number(b.node.isReturn));
  const head: Node = {
    operation: { kind: 'read', value: null, startMs: 0, endMs: 0 },
    index: -1,
    match: null,
    isReturn: false,
    before: null,
    after: null,
  };
  let last = head;
  for (const { node } of nodes) {
    last.after = node;
    node.before = last;
    last = node;
  }
  return head;
}

function lift(call: Node): void {
  for (const node of [call, call.match]) {
    if (!node) continue;
    if (node.before) node.before.after = node.after;
    if (node.after) node.after.before = node.before;
  }
}

function unlift(call: Node): void {
  for (const node of [call.match, call]) {
    if (!node) continue;
    if (node.before) node.before.after = node;
    if (node.after) node.after.before = node;
  }
}
