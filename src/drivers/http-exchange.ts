import {
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';

export interface HttpQuestion {
  url: URL;
  method: string;
  /** As they are sent, spelling included. */
  headers: Record<string, string>;
  body: Uint8Array | null;
}

/** Connections that are kept for the next request to the same place. */
export interface HttpPool {
  /** Resolves with the head of the answer, its body unread. @throws Error of the connection, or the signal's reason */
  ask(question: HttpQuestion, signal: AbortSignal): Promise<IncomingMessage>;
  close(): Promise<void>;
}

export function httpPool(): HttpPool {
  const options = { keepAlive: true, maxFreeSockets: 16 };
  const agents = { http: new HttpAgent(options), https: new HttpsAgent(options) };

  return {
    async ask(question, signal) {
      try {
        return await once(question, signal);
      } catch (error) {
        // The server closed a kept connection just as it was used again. Should it have seen this all the same, then it
        // knows it by its key.
        if (!(error instanceof ClosedMeanwhile)) throw error;
        return await once(question, signal, false);
      }
    },
    close() {
      agents.http.destroy();
      agents.https.destroy();
      return Promise.resolve();
    },
  };

  function once(
    { url, method, headers, body }: HttpQuestion,
    signal: AbortSignal,
    kept = true,
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const secure = url.protocol === 'https:';
      const agent = secure ? agents.https : agents.http;
      const options: RequestOptions = { method, headers, signal, agent: kept ? agent : false };
      const request = secure ? httpsRequest(url, options) : httpRequest(url, options);
      request.once('response', resolve);
      request.on('error', (error: NodeJS.ErrnoException) => {
        const closed = request.reusedSocket && ['ECONNRESET', 'EPIPE'].includes(error.code ?? '');
        reject(closed && !signal.aborted ? new ClosedMeanwhile(error.message, { cause: error }) : error);
      });
      // With its length known, and not in chunks, which some servers don't take.
      if (body !== null) request.setHeader('Content-Length', body.length);
      request.end(body ?? undefined);
    });
  }
}

class ClosedMeanwhile extends Error {}

/** null when it is longer: then the rest of it is not waited for. */
export async function readBody(answer: IncomingMessage, mostBytes: number): Promise<Buffer | null> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > mostBytes) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
