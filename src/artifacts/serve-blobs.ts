import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { ArtifactError } from '../ports/artifacts.ts';
import type { BlobStore } from './blob-store.ts';

const PATH = /^\/blobs\/(sha256:[0-9a-f]{64})$/;

/**
 * Answers other nodes' `GET`, `HEAD` and `PUT /blobs/<digest>`; `others` answers everything else. Whoever mounts it decides
 * who may ask. What is put must have the digest.
 */
export function serveBlobs(blobs: BlobStore, others: RequestListener): RequestListener {
  return (request, response) => {
    const digest = PATH.exec(request.url ?? '')?.[1];
    if (digest === undefined) {
      others(request, response);
      return;
    }
    // The asker sees a cut connection and asks another node.
    answer(blobs, digest, request, response).catch((error: unknown) => response.destroy(error as Error));
  };
}

async function answer(
  blobs: BlobStore,
  digest: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (request.method === 'PUT') {
    response.writeHead(await take(blobs, digest, request)).end();
    return;
  }
  if (request.method === 'HEAD') {
    response.writeHead((await blobs.has(digest)) ? 200 : 404).end();
    return;
  }
  const bytes = request.method === 'GET' ? await blobs.read(digest) : null;
  if (bytes === null) response.writeHead(404).end();
  else response.writeHead(200, { 'content-length': bytes.length }).end(bytes);
}

async function take(blobs: BlobStore, digest: string, request: IncomingMessage): Promise<number> {
  try {
    // Not read when it is here already: the asker learns that before it has sent much.
    if (await blobs.has(digest)) return 200;
    await blobs.receive(request, digest);
    return 201;
  } catch (error) {
    if (error instanceof ArtifactError) return 400;
    throw error;
  }
}
