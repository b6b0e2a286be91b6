import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { ArtifactError, type Artifacts } from '../ports/artifacts.ts';

const PATH = /^\/artifacts\/(sha256:[0-9a-f]{64})$/;

/**
 * Answers other nodes' `GET` and `HEAD /artifacts/<digest>` from this node's store; 404 for everything else. Whoever
 * mounts it decides who may ask.
 */
export function serveArtifacts(
  artifacts: Pick<Artifacts, 'read'>,
): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    answer(artifacts, request, response).catch((error: unknown) => {
      // The asker sees a cut connection and tries another holder; once it has gone itself, nobody wants to know.
      response.destroy(error as Error);
    });
  };
}

async function answer(
  artifacts: Pick<Artifacts, 'read'>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { pathname } = new URL(request.url ?? '/', 'http://peer');
  const digest = PATH.exec(decoded(pathname))?.[1];
  const asked = request.method === 'GET' || request.method === 'HEAD';
  const found = asked && digest !== undefined ? await find(artifacts, digest) : null;
  if (found === null) {
    response.writeHead(404, { 'content-type': 'text/plain' });
    response.end('not here\n');
    return;
  }
  response.writeHead(200, { 'content-type': 'application/gzip', 'content-length': found.bytes });
  if (request.method === 'HEAD') {
    response.end();
    return;
  }
  await pipeline(found.stream, response);
}

async function find(
  artifacts: Pick<Artifacts, 'read'>,
  digest: string,
): Promise<Awaited<ReturnType<Artifacts['read']>> | null> {
  try {
    return await artifacts.read(digest);
  } catch (error) {
    if (error instanceof ArtifactError) return null;
    throw error;
  }
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return '';
  }
}
