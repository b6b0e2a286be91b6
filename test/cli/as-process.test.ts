import { spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import type { ExecutionContext } from 'ava';

const program = fileURLToPath(new URL('program-for-tests.ts', import.meta.url));
const root = fileURLToPath(new URL('../..', import.meta.url));

/** An agent whose only answer is a log that never ends. */
async function endlessLog(t: ExecutionContext): Promise<string> {
  const server = http.createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    const line = JSON.stringify({
      instance: 'blog/web/0',
      node: 'n',
      stream: 'stdout',
      text: 'x'.repeat(200),
    });
    const more = () => {
      while (!response.destroyed && response.write(`${line}\n`));
    };
    response.on('drain', more);
    more();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function start(t: ExecutionContext, argv: string[]) {
  const child = spawn(process.execPath, ['--import=tsx', program, ...argv], { cwd: root });
  t.teardown(() => child.kill('SIGKILL'));
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  return { child, ended: once(child, 'close'), stderr: () => stderr };
}

test('a reader that has seen enough ends it quietly', async t => {
  const api = await endlessLog(t);
  const { child, ended, stderr } = start(t, ['logs', 'blog/web/0', '--api', api]);
  await once(child.stdout, 'data');
  child.stdout.destroy();
  t.deepEqual(await ended, [0, null]);
  t.is(stderr(), '');
});

test('Ctrl-C ends a stream with exit code 130 and no message', async t => {
  const api = await endlessLog(t);
  const { child, ended, stderr } = start(t, ['logs', 'blog/web/0', '--api', api]);
  await once(child.stdout, 'data');
  child.stdout.resume();
  child.kill('SIGINT');
  t.deepEqual(await ended, [130, null]);
  t.is(stderr(), '');
});

test('Ctrl-C ends the reading of stdin too', async t => {
  const { child, ended, stderr } = start(t, ['validate', '-']);
  // More than a pipe holds: once it is written, it is being read.
  await new Promise(resolve => child.stdin.write('#'.repeat(4_000_000), resolve));
  child.stdin.on('error', () => undefined);
  child.kill('SIGINT');
  t.deepEqual(await ended, [130, null]);
  t.is(stderr(), '');
});

test('bash offers what __complete says, also after a colon', async t => {
  const script = `
    hop3-agent() { ${process.execPath} --import=tsx ${program} "$@"; }
    eval "$(hop3-agent completion bash)"
    try() { COMP_LINE="$1"; COMP_POINT=\${#1}; compopt() { :; }; _hop3_agent; echo "\${COMPREPLY[*]}"; }
    try "hop3-agent sta"
    try "hop3-agent events --fo"
    try "hop3-agent run --driver "
  `;
  const child = spawn('bash', ['--norc', '-c', script], { cwd: root });
  t.teardown(() => child.kill('SIGKILL'));
  let stdout = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  t.deepEqual(await once(child, 'close'), [0, null]);
  t.is(stdout, 'status\n--follow\nprocess systemd\n');
});
