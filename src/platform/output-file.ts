import { copyFile, open, stat, truncate } from 'node:fs/promises';

const TAIL_BYTES = 64 * 1024;

/** The newest lines of a file, oldest first; none when it is not there. */
export async function lastLines(path: string, count: number): Promise<string[]> {
  const size = await sizeOf(path);
  if (size === 0) return [];
  const file = await open(path, 'r');
  try {
    const length = Math.min(size, TAIL_BYTES);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
    const lines = buffer.toString('utf8', 0, bytesRead).split('\n');
    return lines.filter(line => line !== '').slice(-count);
  } finally {
    await file.close();
  }
}

/**
 * Moves what has grown past the limit into `PATH.1` and empties the file in place, because its writer keeps it open
 * (for appending). What is written between the copy and the emptying is lost.
 */
export async function limitFile(path: string, bytesMax: number): Promise<void> {
  if ((await sizeOf(path)) <= bytesMax) return;
  await copyFile(path, `${path}.1`);
  await truncate(path);
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
}
