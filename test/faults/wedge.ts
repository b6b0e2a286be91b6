import { once } from 'node:events';
import { request } from 'node:http';
import type { Socket } from 'node:net';
import { until } from '../support/until.ts';

/**
 * Keeps a Node.js process busy in its event loop, through the debugger that every one has: the product has no code for it. The
 * process must have been started with `--inspect-port` at `port`.
 */
export async function wedge(pid: number, port: number, forMs: number): Promise<void> {
  process.kill(pid, 'SIGUSR1');
  const path = await until('the debugger listens', () => debuggerPath(port));
  const asking = request({
    host: '127.0.0.1',
    port,
    path,
    headers: {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': Buffer.from('sixteen bytes ok').toString('base64'),
    },
  });
  asking.end();
  const [, socket] = (await once(asking, 'upgrade')) as [unknown, Socket];
  socket.on('error', () => undefined);
  const expression = `for (const until = performance.now() + ${forMs}; performance.now() < until; );`;
  socket.write(textFrame(JSON.stringify({ id: 1, method: 'Runtime.evaluate', params: { expression } })));
  // The answer comes when the loop is over; nobody waits for it.
  socket.unref();
}

async function debuggerPath(port: number): Promise<string | null> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/json/list`, { signal: AbortSignal.timeout(1000) });
    const [target] = (await response.json()) as { webSocketDebuggerUrl: string }[];
    return target ? new URL(target.webSocketDebuggerUrl).pathname : null;
  } catch {
    return null;
  }
}

/** One text frame, masked as a client's have to be (RFC 6455); the mask of zeros changes nothing. */
function textFrame(text: string): Buffer {
  const bytes = Buffer.from(text);
  const header = Buffer.from([0x81, 0x80 | 126, bytes.length >> 8, bytes.length & 0xff, 0, 0, 0, 0]);
  return Buffer.concat([header, bytes]);
}
