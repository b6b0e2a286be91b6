import { EventEmitter, once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { PlanChange } from '../../src/model/plan-views.ts';
import { hop3, startCluster, type TestCluster } from '../support/cluster.ts';
import { until } from '../support/until.ts';

let cluster: TestCluster;
test.before(async () => {
  cluster = await startCluster({ nodes: 3, leaseTtlSeconds: 5 });
});
test.after.always(() => cluster.stop());

interface Asked {
  key: string;
  token: bigint;
}

/** What steps act on: it answers no request before it is told to, and remembers who asked. */
async function resource(t: ExecutionContext): Promise<{ url: string; asked: Asked[]; answer: () => void }> {
  const asked: Asked[] = [];
  const gate = new EventEmitter().setMaxListeners(0);
  let open = false;
  const server = http.createServer((request, response) => {
    const header = (name: string) => String(request.headers[name]);
    asked.push({ key: header('idempotency-key'), token: BigInt(header('fencing-token')) });
    if (open) response.end('done');
    else gate.once('open', () => response.end('done'));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const answer = (): void => {
    open = true;
    gate.emit('open');
  };
  return { url: `http://127.0.0.1:${port}`, asked, answer };
}

test('a plan goes on when a node is lost in its middle, and whoever watches it elsewhere hears its end', async t => {
  const STEPS = 100;
  const { url, asked, answer } = await resource(t);
  const steps = Array.from(
    { length: STEPS },
    (_, index) => `  - {name: s${index}, agent: http, resource: "${url}"}\n`,
  );
  const after = Array.from({ length: STEPS }, (_, index) => `s${index}`).join(', ');
  const file = join(cluster.directory, 'plan.yaml');
  const last = `  - {name: last, agent: http, resource: "${url}", depends-on: [${after}]}\n`;
  await writeFile(file, `kind: Plan\ntitle: Many\nsteps:\n${steps.join('')}${last}`);
  const submit = ['batch', 'submit', file, '--idempotency-key', 'many'];
  const submitted = await hop3(submit, cluster.node('node-1').url);
  const plan = submitted.stdout.trim();
  t.is(submitted.code, 0, submitted.stderr);
  // Nobody knows whether the first was heard: asked again, at another node, it is the same plan.
  t.is((await hop3(submit, cluster.node('node-2').url)).stdout.trim(), plan);

  const watcher = cluster.node('node-3');
  const watched = hop3(['batch', 'status', plan, '--watch', '--json'], watcher.url);
  const lost = await until('a node that is not watched at works at steps', async () => {
    const { items } = await watcher.api.stepsOf(plan, { states: ['RUNNING'] });
    return ['node-1', 'node-2'].find(name => items.some(({ lockedBy }) => lockedBy === name));
  });
  await cluster.node(lost).crash();
  answer();

  const { code, stdout, stderr } = await watched;
  t.is(code, 0, stderr);
  const told = stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as PlanChange);
  t.like(told.at(-1), { kind: 'plan', plan: { state: 'COMPLETED', counts: { COMPLETED: STEPS + 1 } } });
  const ends = told.flatMap(change =>
    change.kind === 'step' && change.step.state === 'COMPLETED' ? [change.step.index] : [],
  );
  t.deepEqual(
    ends.toSorted((a, b) => a - b),
    Array.from({ length: STEPS + 1 }, (_, index) => index),
  );

  const { items } = await watcher.api.stepsOf(plan);
  t.true(items.every(({ state }) => state === 'COMPLETED'));
  t.true(items.some(({ attempt, error }) => attempt > 1 && error?.includes(lost) === true));
  const tokens = new Map<string, bigint>();
  for (const { key, token } of asked) {
    t.true(token >= (tokens.get(key) ?? 0n), `the token of ${key} only grows`);
    tokens.set(key, token);
  }
  t.is(tokens.size, STEPS + 1);
  const state = await fetch(`${watcher.url}/states/plans/${plan}`);
  t.like(await state.json(), { data: { state: { status: 'COMPLETED', resource_id: plan } } });
});
