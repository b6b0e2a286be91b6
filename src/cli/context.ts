import { resolve } from 'node:path';
import type { ApiClient } from '../api/client.ts';
import { usageFailure } from './failure.ts';
import type { CliIo } from './io.ts';
import type { Output } from './output.ts';

const DEFAULT_API = 'http://127.0.0.1:7300';

/** What every command is given. */
export interface CommandContext {
  io: CliIo;
  out: Output;
  target: ApiTarget;
  /** Made when first asked for, so that commands which need no API load none. */
  api: () => Promise<ApiClient>;
  /** A file named on the command line, as an absolute path. */
  path: (file: string) => string;
}

/** Which agent to ask. */
export interface ApiTarget {
  /** As the user would write it. */
  text: string;
  url: string;
  socketPath: string | null;
  token: string | null;
  /** False when nobody named one and the default is used. */
  asked: boolean;
}

export function commandContext(io: CliIo, out: Output, target: ApiTarget): CommandContext {
  let client: Promise<ApiClient> | null = null;
  return {
    io,
    out,
    target,
    api: () => (client ??= connect(target)),
    path: file => resolve(io.cwd, file),
  };
}

/** @throws CliFailure (usage) when the address is none */
export function apiTarget(
  options: { api: string | null; token: string | null },
  env: CliIo['env'],
): ApiTarget {
  const asked = options.api ?? nonEmpty(env['HOP3_AGENT_API']);
  const text = asked ?? DEFAULT_API;
  const token = options.token ?? nonEmpty(env['HOP3_AGENT_TOKEN']);
  if (text.startsWith('unix:')) {
    const socketPath = text.slice('unix:'.length).replace(/^\/\/(?=\/)/, '');
    if (!socketPath.startsWith('/')) throw badAddress(text);
    return { text, url: 'http://localhost', socketPath, token, asked: asked !== null };
  }
  const url = URL.parse(text);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) throw badAddress(text);
  return { text, url: text.replace(/\/+$/, ''), socketPath: null, token, asked: asked !== null };
}

function badAddress(text: string): Error {
  return usageFailure(
    `"${text}" is not the address of an agent`,
    'as in --api http://127.0.0.1:7300 or --api unix:/run/hop3/agent.sock',
  );
}

function nonEmpty(text: string | undefined): string | null {
  return text === undefined || text === '' ? null : text;
}

async function connect(target: ApiTarget): Promise<ApiClient> {
  const { apiClient } = await import('../api/client.ts');
  return apiClient({
    url: target.url,
    ...(target.socketPath !== null && { socketPath: target.socketPath }),
    ...(target.token !== null && { token: target.token }),
  });
}
