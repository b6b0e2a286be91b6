import { readFile } from 'node:fs/promises';

/** The text of a file; null = there is none. @throws Error that names the file */
export async function optionalText(file: string): Promise<string | null> {
  return readFile(file, 'utf8').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    // Of a directory Node.js says that it can't be read, but not which.
    throw Object.assign(error as Error, { path: file });
  });
}
