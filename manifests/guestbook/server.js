import { createServer } from 'node:http';
import { addEntry, readEntries } from './entries.js';

const port = Number(process.env.PORT ?? 8000);
const host = process.env.BIND_ADDRESS ?? '127.0.0.1';
const instance = process.env.HOP3_INSTANCE ?? `pid ${process.pid}`;
const largestBody = 10_000;
let stopping = false;

const routes = {
  'GET /': async (_request, response) => html(response, 200, page(await readEntries())),
  'POST /': async (request, response) => {
    const form = new URLSearchParams(await body(request));
    const name = (form.get('name') ?? '').trim().slice(0, 100);
    const message = (form.get('message') ?? '').trim().slice(0, 1000);
    if (name === '' || message === '') return text(response, 400, 'A name and a message, please.\n');
    await addEntry({ name, message, at: new Date().toISOString() });
    response.writeHead(303, { location: '/' }).end();
  },
  'GET /health': (_request, response) => text(response, stopping ? 503 : 200, stopping ? 'stopping\n' : 'ok\n'),
  'GET /env': (_request, response) => text(response, 200, `${Object.keys(process.env).sort().join('\n')}\n`),
  'POST /crash': (_request, response) => {
    text(response, 202, 'crashing\n');
    response.on('finish', () => process.exit(1));
  },
  'POST /hang': (_request, response) => {
    text(response, 202, 'hanging\n');
    response.on('finish', () => {
      for (;;);
    });
  },
};

const server = createServer((request, response) => {
  response.setHeader('x-instance', instance);
  // A kept connection would outlive this process: tell its other end.
  if (stopping) response.setHeader('connection', 'close');
  const { pathname } = new URL(request.url, 'http://guestbook');
  const method = request.method === 'HEAD' ? 'GET' : request.method;
  const route = routes[`${method} ${pathname}`];
  if (route === undefined) return text(response, 404, 'There is nothing here.\n');
  Promise.resolve(route(request, response)).catch(error => {
    console.error(error);
    if (!response.headersSent) text(response, error.status ?? 500, `${error.message}\n`);
    else response.destroy();
  });
});

// Longer than any proxy keeps an idle connection, so that it is never closed under a request on its way.
server.keepAliveTimeout = 75_000;
server.listen(port, host, () => console.log(`${instance} listens on ${host}:${port}`));

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => {
    if (stopping) return;
    stopping = true;
    console.log(`${instance} stops: finishing what it has begun`);
    server.close(() => process.exit(0));
    server.closeIdleConnections();
  });
}

function page(entries) {
  const greeting = escape(process.env.GREETING ?? 'Hello');
  const list = entries
    .slice(-50)
    .reverse()
    .map(({ name, message, at }) => `<li><b>${escape(name)}</b> ${escape(message)} <small>${escape(at)}</small></li>`);
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Guestbook</title>
<style>body { font-family: system-ui, sans-serif; margin: 4rem auto; max-width: 40rem; padding: 0 1rem }</style>
<h1>${greeting}</h1>
<form method="post" action="/">
<p><label>Name <input name="name" maxlength="100" required></label>
<p><label>Message <input name="message" maxlength="1000" size="40" required></label> <button>Sign</button>
</form>
<ul>${list.join('\n')}</ul>
<p><small>Answered by ${escape(instance)}. Entries stay on the node that took them.</small>
`;
}

async function body(request) {
  let read = '';
  for await (const chunk of request.setEncoding('utf8')) {
    read += chunk;
    if (read.length > largestBody) throw Object.assign(new Error('That is too long.'), { status: 413 });
  }
  return read;
}

function text(response, status, content) {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(content);
}

function html(response, status, content) {
  response.writeHead(status, { 'content-type': 'text/html; charset=utf-8' }).end(content);
}

function escape(value) {
  const named = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return String(value).replace(/[&<>"']/g, character => named[character]);
}
