import { execFile } from 'node:child_process';
import { Agent, request } from 'node:http';
import { promisify } from 'node:util';
import { findOnPath } from '../../src/platform/tools.ts';

export interface LoadReport {
  requests: number;
  /** Answers other than 2xx and 3xx, and errors of the sockets. */
  failed: number;
  said: string;
}

const CONNECTIONS = 32;
/** An answer that is later is none. `wrk` says 2 s, which it takes itself when the machine stands still for a moment. */
const ANSWERED_WITHIN_SECONDS = 30;

/**
 * GETs from a client that keeps 32 connections open and repeats nothing that failed: `wrk`, or, on a machine without
 * it, the same from Node.
 */
export async function underLoad(
  port: number,
  host: string,
  seconds: number,
  searchPath = process.env['PATH'],
): Promise<LoadReport> {
  const wrk = await findOnPath('wrk', searchPath);
  return wrk === null ? fromNode(port, host, seconds) : fromWrk(wrk, port, host, seconds);
}

async function fromWrk(wrk: string, port: number, host: string, seconds: number): Promise<LoadReport> {
  const { stdout } = await promisify(execFile)(wrk, [
    ...['-t1', `-c${CONNECTIONS}`, `-d${seconds}s`, `--timeout=${ANSWERED_WITHIN_SECONDS}s`],
    ...['-H', `Host: ${host}`],
    `http://127.0.0.1:${port}/`,
  ]);
  const count = (pattern: RegExp) =>
    [...(pattern.exec(stdout) ?? []).slice(1)].reduce((sum, text) => sum + Number(text), 0);
  return {
    requests: count(/(\d+) requests in/),
    failed:
      count(/Non-2xx or 3xx responses: (\d+)/) +
      count(/Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/),
    said: stdout,
  };
}

async function fromNode(port: number, host: string, seconds: number): Promise<LoadReport> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const endMs = performance.now() + seconds * 1000;
  const complaints: string[] = [];
  let requests = 0;
  const client = async () => {
    while (performance.now() < endMs) {
      requests += 1;
      const complaint = await get(port, host, agent);
      if (complaint !== null) complaints.push(complaint);
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, client));
  agent.destroy();
  return { requests, failed: complaints.length, said: [`${requests} requests`, ...complaints].join('\n') };
}

/** null, or what went wrong. */
function get(port: number, host: string, agent: Agent): Promise<string | null> {
  return new Promise(resolve => {
    request({ host: '127.0.0.1', port, headers: { host }, agent }, response => {
      const { statusCode = 0 } = response;
      response.once('error', error => resolve(error.message));
      response.resume().once('end', () => resolve(statusCode < 400 ? null : `status ${statusCode}`));
    })
      .once('error', error => resolve(error.message))
      .end();
  });
}
