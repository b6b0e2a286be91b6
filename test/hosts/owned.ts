import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { monotonicMs } from '../faults/monotonic.ts';
import { handovers, signsOf, spansOf, tokenTrouble, type Span } from '../faults/spans.ts';
import { until } from '../support/until.ts';
import { cuts } from './cuts.ts';
import { isReady, TAKEN_WITHIN_MS, TTL_MS, type Fleet, type Node } from './fleet.ts';
import { settled } from './shop.ts';

/** Signs of life like a writer's, under a name. */
const SIGNS = `
  const { appendFileSync } = require('fs');
  const now = () => (Number(process.hrtime.bigint()) / 1e6).toFixed(3);
  const born = now();
  const say = () => appendFileSync('/var/tmp/owned', [now(), 'job', process.env.HOP3_FENCING_TOKEN, process.argv[1], born].join(' ') + '\\n');
  say(); setInterval(say, 10);
`;

export async function ownCommand({ nodes }: Fleet): Promise<string> {
  const [first, second] = nodes;
  await settled(nodes);
  const short = ['hop3-agent', 'own', 'report', '--stop-timeout', '1', '--', 'sh', '-c'];
  const looks = 'echo $HOP3_FENCING_TOKEN; cat $HOP3_FENCING_TOKEN_FILE; echo; cat /proc/self/cgroup; exit 7';
  const ran = await first.host.run([...short, looks]);
  assert.equal(ran.code, 7, ran.stderr);
  const [token, inFile, ...groups] = ran.stdout.trim().split('\n');
  assert.match(token ?? '', /^\d+$/);
  assert.equal(inFile, token);
  assert.ok(
    groups.some(line => /hop3-agent\.service/.test(line)),
    groups.join('\n'),
  );
  const again = await second.host.run([...short, 'echo $HOP3_FENCING_TOKEN; kill -9 $$']);
  assert.equal(again.code, 128 + 9, again.stderr);
  assert.ok(BigInt(again.stdout.trim()) > BigInt(token!), 'tokens grow, over hosts');

  const job = (node: Node, more: string[]): Promise<{ code: number | null; stderr: string }> =>
    node.host.run(
      ['hop3-agent', 'own', 'job', '--stop-timeout', '1', ...more, '--', 'node', '-e', SIGNS, node.host.name],
      { timeoutMs: 180_000 },
    );
  const signs = async (): Promise<Span[]> => {
    const texts = [first, second].map(({ host }) =>
      readFile(join(host.root, 'var/tmp/owned'), 'latin1').catch(() => ''),
    );
    return spansOf(signsOf((await Promise.all(texts)).join('')));
  };
  const losing = job(first, []);
  await until('it is at work', async () => (await signs()).length === 1);
  const waiting = job(second, ['--wait']);
  await until('the other stands in line', async () => {
    const { items } = await second.api.agents(AbortSignal.timeout(5000));
    return items.find(({ name }) => name === 'job')?.waiters.some(({ node }) => node === second.host.name);
  });
  await first.host.filter(cuts.etcd);
  const cutMs = monotonicMs();
  try {
    await until('the other is at work', async () => (await signs()).length === 2, TAKEN_WITHIN_MS);
  } finally {
    await first.host.filter(null);
  }
  const lost = await losing;
  assert.ok(
    lost.code !== 0 && lost.code !== null,
    `the command that was stopped ended with ${String(lost.code)}`,
  );
  await second.host.must(['hop3-agent', 'release', 'job']);
  const released = await waiting;
  const found = await signs();
  const { overlaps, smallestGapMs } = handovers(found);
  assert.deepEqual([...overlaps, ...tokenTrouble(found)], []);
  const stoppedMs = found[0]!.lastMs - cutMs;
  assert.ok(stoppedMs < TTL_MS, `it ran on for ${Math.round(stoppedMs)} ms`);
  await isReady(first);
  return (
    `stopped ${Math.round(stoppedMs)} ms after the cut (exit ${String(lost.code)}), the next at work ` +
    `${Math.round(smallestGapMs ?? 0)} ms later (released: exit ${String(released.code)})`
  );
}
