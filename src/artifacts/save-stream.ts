import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import type { Digest } from '../model/ids.ts';
import { ArtifactError } from '../ports/artifacts.ts';

/** Writes and flushes a new file, taking its digest on the way. @throws ArtifactError beyond `maxBytes` */
export async function saveStream(
  stream: AsyncIterable<Uint8Array>,
  path: string,
  maxBytes: number,
): Promise<{ digest: Digest; bytes: number }> {
  const hash = createHash('sha256');
  let bytes = 0;
  const file = await open(path, 'wx', 0o644);
  try {
    for await (const chunk of stream) {
      bytes += chunk.length;
      if (bytes > maxBytes) {
        throw new ArtifactError(`it is larger than the limit of ${maxBytes} bytes`, { retryable: false });
      }
      hash.update(chunk);
      await file.writeFile(chunk);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  return { digest: `sha256:${hash.digest('hex')}`, bytes };
}
