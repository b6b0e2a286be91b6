import { RevisionGoneError } from './errors.ts';
import type { Head, KeyValue, Wire } from './wire.ts';

const PAGE = 500;
/** Compacted away under our hands more often than this, something is wrong. */
const MOST_STARTS = 5;

export interface ListLimits {
  createdAfter?: bigint;
  limit?: number;
}

/** Everything under a prefix in key order, page by page, all of it as of the revision of the first page. */
export async function listAll(
  wire: Wire,
  prefix: string,
  limits: ListLimits = {},
): Promise<{ head: Head; entries: KeyValue[] }> {
  for (let start = 1; ; start++) {
    try {
      return await listOnce(wire, prefix, limits);
    } catch (error) {
      if (!(error instanceof RevisionGoneError) || start >= MOST_STARTS) throw error;
    }
  }
}

async function listOnce(wire: Wire, prefix: string, limits: ListLimits) {
  const entries: KeyValue[] = [];
  const { createdAfter } = limits;
  let head: Head | null = null;
  for (;;) {
    const afterKey = entries.at(-1)?.key;
    const page = await wire.range({
      range: afterKey === undefined ? { prefix } : { prefix, afterKey },
      limit: Math.min(PAGE, (limits.limit ?? Infinity) - entries.length),
      ...(head ? { atRevision: head.revision } : {}),
      ...(createdAfter === undefined ? {} : { createdAfter }),
    });
    head ??= page.head;
    entries.push(...page.entries);
    if (!page.more || entries.length >= (limits.limit ?? Infinity)) return { head, entries };
  }
}
