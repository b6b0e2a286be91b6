import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import test, { type ExecutionContext } from 'ava';

import { networkProber } from '../../src/drivers/network-prober.ts';
import { systemClock } from '../../src/platform/clock.ts';
import type { Verification } from '../../src/model/node-promise.ts';
import type { Prober, ProbeResult } from '../../src/ports/prober.ts';
import { FakeProber, type Reply } from '../support/fake-prober.ts';
import { freePort } from '../support/free-port.ts';

const clock = systemClock();

interface World {
  prober: Prober;
  /** Makes an address reply so, and gives its port. */
  place: (reply: Reply) => Promise<number>;
}

const worlds: Record<string, (t: ExecutionContext) => World> = {
  fake() {
    const prober = new FakeProber({ clock });
    let port = 4000;
    return {
      prober,
      async place(reply) {
        prober.set('127.0.0.1', ++port, reply);
        return port;
      },
    };
  },
  network: t => ({
    prober: networkProber({ clock }),
    async place(reply) {
      if (reply.kind === 'refuses') return freePort();
      if (reply.kind === 'gone') return gone(t);
      const server =
        reply.kind === 'hangs'
          ? createServer()
          : createHttpServer((_request, response) => {
              response.writeHead(reply.status, { Location: 'http://127.0.0.1:1/' }).end(reply.body);
            });
      return listening(t, server);
    },
  }),
};

const DEAF = `
  const server = require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    require('node:fs').writeSync(1, String(server.address().port));
    process.kill(process.pid, 'SIGSTOP');
  });
`;

/** As a host that is gone: what is sent there is lost. Here, as more wait to be accepted than there is room for. */
async function gone(t: ExecutionContext): Promise<number> {
  const child = spawn(process.execPath, ['-e', DEAF], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  const [said] = (await once(child.stdout, 'data')) as [Buffer];
  const port = Number(String(said));
  for (let isFull = false; !isFull;) {
    const socket = connect({ host: '127.0.0.1', port });
    t.teardown(() => socket.destroy());
    isFull = await Promise.race([
      once(socket, 'connect').then(() => false),
      // After a turn of the loop: this process may have been kept from hearing of a connection that there is.
      clock
        .sleep(200)
        .then(() => new Promise<boolean>(resolve => setImmediate(() => resolve(socket.connecting)))),
    ]);
  }
  return port;
}

async function listening(t: ExecutionContext, server: Server): Promise<number> {
  server.on('connection', socket => t.teardown(() => socket.destroy()));
  server.listen(0, '127.0.0.1');
  t.teardown(() => server.close());
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

function http(port: number, parts: Partial<Extract<Verification, { method: 'http' }>> = {}): Verification {
  return {
    method: 'http',
    host: '127.0.0.1',
    port,
    path: '/health',
    contains: null,
    timeoutSeconds: 10,
    ...parts,
  };
}

const rows: {
  name: string;
  reply: Reply;
  strict?: boolean;
  contains?: string;
  timeoutSeconds?: number;
  acceptMs?: number;
  verdict: ProbeResult['verdict'];
  evidence: RegExp;
}[] = [
  {
    name: 'an answer is good',
    reply: { kind: 'http', status: 200 },
    verdict: 'good',
    evidence: /^HTTP 200 from 127\.0\.0\.1:\d+\/health in \d+ ms$/,
  },
  {
    name: 'any answer is good',
    reply: { kind: 'http', status: 500 },
    verdict: 'good',
    evidence: /^HTTP 500/,
  },
  {
    name: 'when strict, an error is not',
    reply: { kind: 'http', status: 500 },
    strict: true,
    verdict: 'refused',
    evidence: /^HTTP 500/,
  },
  {
    name: 'when strict, not found is not',
    reply: { kind: 'http', status: 404 },
    strict: true,
    verdict: 'refused',
    evidence: /^HTTP 404/,
  },
  {
    name: 'a redirect is an answer, not followed',
    reply: { kind: 'http', status: 302 },
    strict: true,
    verdict: 'good',
    evidence: /^HTTP 302/,
  },
  {
    name: 'the wanted text is there',
    reply: { kind: 'http', status: 200, body: 'all is OK here' },
    contains: 'OK',
    verdict: 'good',
    evidence: /^HTTP 200/,
  },
  {
    name: 'the wanted text is missing',
    reply: { kind: 'http', status: 200, body: 'no' },
    contains: 'OK',
    verdict: 'refused',
    evidence: /^HTTP 200 .* without "OK" in the body$/,
  },
  {
    name: 'the wanted text in an error page counts only when not strict',
    reply: { kind: 'http', status: 500, body: 'OK' },
    contains: 'OK',
    strict: true,
    verdict: 'refused',
    evidence: /^HTTP 500/,
  },
  {
    name: 'nobody listens',
    reply: { kind: 'refuses' },
    verdict: 'unreachable',
    evidence: /^connection refused by 127\.0\.0\.1:\d+\/health$/,
  },
  {
    name: 'somebody accepts and never answers',
    reply: { kind: 'hangs' },
    timeoutSeconds: 0.2,
    verdict: 'unreachable',
    evidence:
      /^no answer from 127\.0\.0\.1:\d+\/health within (200 ms|0\.2 s), though it accepted the connection$/,
  },
  {
    name: 'nothing is heard',
    reply: { kind: 'gone' },
    timeoutSeconds: 0.2,
    verdict: 'unreachable',
    evidence: /^no answer from 127\.0\.0\.1:\d+\/health within (200 ms|0\.2 s)$/,
  },
  {
    name: 'no connection is accepted within the time for that',
    reply: { kind: 'gone' },
    acceptMs: 200,
    verdict: 'unreachable',
    evidence: /^no connection to 127\.0\.0\.1:\d+\/health within 200 ms$/,
  },
  {
    name: 'who accepts in time has all the time for an answer',
    reply: { kind: 'hangs' },
    timeoutSeconds: 0.4,
    acceptMs: 200,
    verdict: 'unreachable',
    evidence: /within (400 ms|0\.4 s), though it accepted the connection$/,
  },
];

for (const [world, make] of Object.entries(worlds)) {
  for (const {
    name,
    reply,
    strict = false,
    contains = null,
    timeoutSeconds = 10,
    acceptMs,
    verdict,
    evidence,
  } of rows) {
    test(`${world}: ${name}`, async t => {
      const { prober, place } = make(t);
      const verification = http(await place(reply), { contains, timeoutSeconds });
      const result = await prober.probe(verification, {
        strict,
        ...(acceptMs !== undefined && { acceptMs }),
      });
      t.is(result.verdict, verdict);
      t.regex(result.evidence, evidence);
      // Timers count whole milliseconds on a clock of their own: one may end that much early.
      if (reply.kind === 'hangs' || reply.kind === 'gone') t.true(result.durationMs >= 199);
    });
  }

  test(`${world}: over TCP, accepting is enough`, async t => {
    const { prober, place } = make(t);
    const tcp = (port: number): Verification => ({
      method: 'tcp',
      host: '127.0.0.1',
      port,
      timeoutSeconds: 10,
    });
    const options = { strict: true };
    t.is((await prober.probe(tcp(await place({ kind: 'hangs' })), options)).verdict, 'good');
    t.is((await prober.probe(tcp(await place({ kind: 'refuses' })), options)).verdict, 'unreachable');
    const inVain = await prober.probe(tcp(await place({ kind: 'gone' })), { ...options, acceptMs: 100 });
    t.is(inVain.verdict, 'unreachable');
    t.regex(inVain.evidence, /^no connection to 127\.0\.0\.1:\d+ within 100 ms$/);
  });

  // Before the others, which it holds up.
  test.serial(
    `${world}: whoever answers is good, though this process could not hear for longer than it waits`,
    async t => {
      const { prober, place } = make(t);
      const port = await place({ kind: 'http', status: 200 });
      const verification = http(port, { timeoutSeconds: 1 });
      const tcp = { method: 'tcp', host: '127.0.0.1', port, timeoutSeconds: 1 } as const;
      const asking = [
        prober.probe(verification, { strict: true }),
        prober.probe(verification, { strict: true, acceptMs: 500 }),
        prober.probe(tcp, { strict: true, acceptMs: 500 }),
      ];
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2000);
      for (const { verdict, evidence } of await Promise.all(asking)) t.is(verdict, 'good', evidence);
    },
  );

  test(`${world}: where there is only a lease, there is nothing to ask`, async t => {
    const { prober } = make(t);
    t.is((await prober.probe({ method: 'lease' }, { strict: true })).verdict, 'good');
  });

  test(`${world}: a question is given up when the signal aborts`, async t => {
    const { prober, place } = make(t);
    const verification = http(await place({ kind: 'hangs' }), { timeoutSeconds: 3600 });
    for (const signal of [AbortSignal.timeout(50), AbortSignal.abort()]) {
      const result = await prober.probe(verification, { strict: false, signal });
      t.is(result.verdict, 'unreachable');
      t.regex(result.evidence, /was called off$/);
    }
  });

  test(`${world}: many questions may share a signal, without a warning`, async t => {
    const { prober, place } = make(t);
    const warnings: Error[] = [];
    const warned = (warning: Error): number => warnings.push(warning);
    process.on('warning', warned);
    t.teardown(() => process.off('warning', warned));
    const verification = http(await place({ kind: 'hangs' }), { timeoutSeconds: 0.05 });
    const { signal } = new AbortController();
    await Promise.all(
      Array.from({ length: 30 }, () => prober.probe(verification, { strict: false, signal })),
    );
    t.deepEqual(warnings, []);
  });
}
