import type { Stats } from 'node:fs';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';

import { contentType } from './content-types.ts';
import { parseRange } from './http-range.ts';
import { findFile, findPage, type Found } from './static-files.ts';

type FoundFile = Extract<Found, { kind: 'file' }>;

export interface StaticSite {
  /** A real path, links resolved. */
  root: string;
  /** Part of every entity tag: artifacts may carry the same file times in every release. */
  version: string;
  /** After each request, also one that was broken off. */
  onDone(request: IncomingMessage, response: ServerResponse): void;
  onError(request: IncomingMessage, error: unknown): void;
}

/** Answers GET and HEAD with the files below a directory. */
export function serveSite(site: StaticSite): RequestListener {
  return (request, response) => {
    response.once('close', () => site.onDone(request, response));
    response.setHeader('X-Content-Type-Options', 'nosniff');
    answer(site, request, response).catch((error: unknown) => {
      // A client that goes away in the middle is its own affair.
      if (request.socket.destroyed) return;
      site.onError(request, error);
      if (response.headersSent) response.destroy();
      else sendText(response, 500, 'The file could not be read.\n');
    });
  };
}

async function answer(site: StaticSite, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('Allow', 'GET, HEAD');
    sendText(response, 405, 'Only GET and HEAD are answered here.\n');
    return;
  }
  const found = await findFile(site.root, request.url ?? '/');
  switch (found.kind) {
    case 'malformed':
      sendText(response, 400, 'That is not a path.\n');
      return;
    case 'redirect':
      response.setHeader('Location', found.location);
      sendText(response, 301, `Moved to ${found.location}\n`);
      return;
    case 'missing':
      await sendMissing(site, request, response);
      return;
    case 'file':
      await closingAfter(found, () => sendFile(site, found, request, response));
      return;
  }
}

async function sendMissing(
  site: StaticSite,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const page = await findPage(site.root, '404.html');
  if (page.kind !== 'file') {
    sendText(response, 404, 'There is nothing here.\n');
    return;
  }
  await closingAfter(page, async () => {
    response.writeHead(404, { 'Content-Type': contentType(page.path), 'Content-Length': page.stats.size });
    await sendBody(page, { start: 0, end: page.stats.size - 1 }, request, response);
  });
}

async function sendFile(
  site: StaticSite,
  file: FoundFile,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { size } = file.stats;
  const tag = entityTag(site.version, file.stats);
  const modified = file.stats.mtime.toUTCString();
  response.setHeader('ETag', tag);
  response.setHeader('Last-Modified', modified);
  response.setHeader('Accept-Ranges', 'bytes');
  if (isUnchanged(request, tag, file.stats)) {
    response.writeHead(304).end();
    return;
  }
  const condition = request.headers['if-range'];
  const ranged = condition === undefined || condition === tag || condition === modified;
  const range = ranged ? parseRange(request.headers.range, size) : 'whole';
  if (range === 'unsatisfiable') {
    response.setHeader('Content-Range', `bytes */${size}`);
    sendText(response, 416, `The file has ${size} bytes.\n`);
    return;
  }
  const { start, end } = range === 'whole' ? { start: 0, end: size - 1 } : range;
  response.setHeader('Content-Type', contentType(file.path));
  response.setHeader('Content-Length', end - start + 1);
  if (range !== 'whole') response.setHeader('Content-Range', `bytes ${start}-${end}/${size}`);
  response.writeHead(range === 'whole' ? 200 : 206);
  await sendBody(file, { start, end }, request, response);
}

async function sendBody(
  { handle }: FoundFile,
  { start, end }: { start: number; end: number },
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (request.method === 'HEAD' || end < start) {
    response.end();
    return;
  }
  await pipeline(handle.createReadStream({ start, end, autoClose: false }), response);
}

/** RFC 9110, 13.2.2: a tag decides alone; without one, the time does. */
function isUnchanged(request: IncomingMessage, tag: string, stats: Stats): boolean {
  const tags = request.headers['if-none-match'];
  if (tags !== undefined) {
    const known = tags.split(',').map(item => item.trim().replace(/^W\//, ''));
    return known.includes(tag) || known.includes('*');
  }
  const since = Date.parse(request.headers['if-modified-since'] ?? '');
  return Math.floor(stats.mtimeMs / 1000) * 1000 <= since;
}

function entityTag(version: string, stats: Stats): string {
  return `"${version}-${stats.size.toString(16)}-${Math.round(stats.mtimeMs).toString(16)}"`;
}

function sendText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, {
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': Buffer.byteLength(text),
  });
  response.end(text);
}

async function closingAfter(file: FoundFile, send: () => Promise<void>): Promise<void> {
  try {
    await send();
  } finally {
    await file.handle.close();
  }
}
