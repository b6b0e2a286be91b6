import type { ChunkRecord, StepRecord } from '../model/plan.ts';

const SMALL_PLAN = 32;
const LARGEST_CHUNK = 128;
const SPREAD = 8;

/**
 * How a plan's steps are put into values of the store: one for a small plan, several as equal as can be for a larger one: few
 * enough to be written cheaply, and enough for several nodes to work at.
 */
export function chunksOf(steps: number): { first: number; count: number }[] {
  const chunks = Math.max(Math.ceil(steps / LARGEST_CHUNK), Math.min(SPREAD, Math.ceil(steps / SMALL_PLAN)));
  return Array.from({ length: chunks }, (_, chunk) => {
    const first = Math.floor((steps * chunk) / chunks);
    return { first, count: Math.floor((steps * (chunk + 1)) / chunks) - first };
  });
}

/** The states of all of a plan's steps by index, out of its chunks; absent = nothing has happened yet. */
export function recordsOf(steps: number, chunks: readonly ChunkRecord[]): (StepRecord | undefined)[] {
  const records = new Array<StepRecord | undefined>(steps).fill(undefined);
  for (const chunk of chunks) for (const record of chunk.steps) records[record.index] = record;
  return records;
}

/** A chunk's steps with some of them changed. Those of other chunks are left out. */
export function withSteps(
  chunk: Pick<ChunkRecord, 'first' | 'count' | 'steps'>,
  changed: readonly StepRecord[],
): StepRecord[] {
  const { first, count } = chunk;
  const byIndex = new Map([...chunk.steps, ...changed].map(record => [record.index, record]));
  return [...byIndex.values()]
    .filter(({ index }) => index >= first && index < first + count)
    .sort((a, b) => a.index - b.index);
}
