import { ApiError } from './client-http.ts';
import type { ProblemDetails } from './wire.ts';

/**
 * Values of a stream of JSON lines. Blank lines are heartbeats; a line with only `problem` says why the agent broke
 * off. @throws ApiError
 */
export async function* linesIn<T>(text: AsyncIterable<string>): AsyncGenerator<T> {
  for await (const line of splitLines(text)) {
    if (line === '') continue;
    const value = JSON.parse(line) as T | { problem: ProblemDetails };
    if (isProblem(value)) throw new ApiError(value.problem);
    yield value;
  }
}

/** One server-sent event, and the id that a stream cut after it goes on from. */
export interface Placed<T> {
  /** Empty while the agent has named none. */
  id: string;
  /** null = nothing but the place has changed. */
  value: T | null;
}

/**
 * A stream of server-sent events, their data parsed (WHATWG HTML, 9.2.6). Comments are heartbeats; an event of type
 * `problem` says why the agent broke off. @throws ApiError
 */
export async function* eventsIn<T>(text: AsyncIterable<string>): AsyncGenerator<Placed<T>> {
  let id = '';
  let placed = '';
  let type = '';
  let data: string[] = [];
  for await (const line of splitLines(text)) {
    const [, name, value = ''] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
    if (name === 'event') type = value;
    if (name === 'data') data.push(value);
    if (name === 'id') id = value;
    if (line !== '') continue;
    const whole = data.join('\n');
    if (whole !== '' && type === 'problem') throw new ApiError(JSON.parse(whole) as ProblemDetails);
    if (whole !== '' || id !== placed) {
      yield { id, value: whole === '' ? null : (JSON.parse(whole) as T) };
    }
    placed = id;
    type = '';
    data = [];
  }
}

/** Complete lines only: what a stream leaves unfinished was cut off. */
async function* splitLines(text: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of text) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
}

function isProblem(value: unknown): value is { problem: ProblemDetails } {
  return typeof value === 'object' && value !== null && 'problem' in value;
}
