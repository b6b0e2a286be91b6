import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Endpoint } from '../../src/model/node-promise.ts';

/** A real web server in a process of its own that answers with its name and what it was asked. */
export interface WebInstance {
  name: string;
  endpoint: Endpoint;
  child: ChildProcess;
  kill(signal: NodeJS.Signals): Promise<void>;
}

const SERVER = `
const http = require('http');
let posts = 0;
let begun = 0;
const server = http.createServer((request, response) => {
  const { method, url, headers } = request;
  if (url === '/posts') return response.end(String(posts));
  if (url === '/die') { if (method === 'POST') posts++; return request.resume().on('end', () => request.socket.destroy()); }
  if (url === '/headers') return response.end(JSON.stringify(headers));
  if (url === '/begun') return response.end(String(begun));
  if (url === '/slow' && ++begun) return setTimeout(() => response.end(process.argv[1]), 700);
  response.end(process.argv[1]);
});
server.on('upgrade', (request, socket) => {
  socket.write('HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: echo\\r\\n\\r\\n');
  socket.on('data', data => socket.write(data)).on('error', () => {});
});
process.on('SIGTERM', () => { server.close(() => process.exit(0)); server.closeIdleConnections(); });
server.listen(Number(process.argv[2] || 0), '127.0.0.1', () => console.log(server.address().port));
`;

export async function startWebInstance(name: string, port = 0): Promise<WebInstance> {
  const child = spawn(process.execPath, ['-e', SERVER, name, String(port)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [text] = (await once(child.stdout, 'data')) as [Buffer];
  return {
    name,
    endpoint: { host: '127.0.0.1', port: Number(text.toString()) },
    child,
    async kill(signal) {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill(signal);
      await once(child, 'exit');
    },
  };
}
