import type { Mutant } from './ownership.ts';

const question = { file: 'src/drivers/http-question.ts', test: 'test/drivers/step-http.test.ts' };
const http = { file: 'src/drivers/step-http.ts', test: 'test/drivers/step-http.test.ts' };
const command = { file: 'src/drivers/step-command.ts', test: 'test/drivers/step-command.test.ts' };
const processes = { file: 'src/drivers/step-processes.ts', test: 'test/drivers/step-command.test.ts' };
const blobs = { test: 'test/contract/blobs.test.ts' };

/** Each lets an agent of steps do what nobody may rely on, or keep what it promised from being true. */
export const stepMutants: Mutant[] = [
  {
    ...question,
    name: 'steps: the token does not reach the server',
    search: "'Fencing-Token': task.token,",
    replace: '',
  },
  {
    ...question,
    name: 'steps: the effect has no key',
    search: "'Idempotency-Key': task.idempotencyKey,",
    replace: '',
  },
  {
    ...question,
    name: 'steps: what a step gave becomes the address',
    search: 'return encodeURIComponent(value);',
    replace: 'return value;',
  },
  {
    ...question,
    name: 'steps: a POST becomes a GET that does nothing',
    search: 'if (!isSafe(method) && (status === 301 || status === 302)) {',
    replace: 'if (status === 999) {',
  },
  {
    ...question,
    name: 'steps: secrets go to another server',
    search: 'target.origin === url.origin || !CONFIDENTIAL.test(name)',
    replace: 'true',
  },
  {
    ...http,
    name: 'steps: the status of an answer is not looked at',
    search: "if (verdict === 'completed') return",
    replace: 'return',
  },
  {
    ...command,
    name: 'steps: the token does not reach the command',
    search: 'HOP3_FENCING_TOKEN: task.token,',
    replace: '',
  },
  {
    ...command,
    name: 'steps: a node runs commands that it may not',
    search: "if (options.commands === 'apps' && given['app'] === undefined) {",
    replace: 'if (options.commands !== options.commands) {',
  },
  {
    ...command,
    name: 'steps: the command has the environment of the agent',
    search: 'PATH: SYSTEM_PATH,',
    replace: '...(process.env as Record<string, string>),',
  },
  {
    ...processes,
    name: 'steps: the death of a command is not waited for',
    search: 'await untilGone(ending, { clock, log, closing: never });',
    replace: 'void [untilGone, ending, never];',
  },
  {
    ...processes,
    name: 'steps: a command outlives its agent',
    search: `( trap '' TERM INT HUP; read -r gone <&3; kill -KILL -$$ ) <&3 >/dev/null 2>&1 &`,
    replace: ':',
  },
  {
    ...processes,
    name: 'steps: a command goes on when its time is over',
    search: "() => end('time')",
    replace: '() => undefined',
  },
  {
    ...blobs,
    file: 'src/artifacts/shared-blobs.ts',
    name: 'blobs: there is one copy',
    search: 'await copy(digest, bytes, new AbortController().signal);',
    replace: '',
  },
  {
    ...blobs,
    file: 'src/artifacts/blob-store.ts',
    name: 'blobs: damaged bytes are given out',
    search: 'if (bytes === null || digestOf(bytes) === digest) return bytes;',
    replace: 'if (bytes === null || bytes.length >= 0) return bytes;',
  },
  {
    ...blobs,
    file: 'src/artifacts/blob-store.ts',
    name: 'blobs: what is about to be named is removed',
    search: 'nowMs - sinceMs >= KEPT_UNNAMED_MS',
    replace: '!inUse.has(digest)',
  },
];
