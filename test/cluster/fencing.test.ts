import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import test from 'ava';
import { parseAllDocuments } from 'yaml';
import { livingMembers } from '../../src/drivers/proc.ts';
import { hop3, ROOT, startCluster, type TestCluster } from '../support/cluster.ts';
import { fromWeb } from '../support/from-web.ts';
import { until } from '../support/until.ts';

const SAMPLE = join(ROOT, 'manifests/fencing/fencing.yaml');
/** The shortest that leaves room for the default stop timeout of exclusive processes, 2 s (rule 7). */
const LEASE_TTL_SECONDS = 10;

interface Manifest {
  metadata: { id: string };
  source: { path: string };
  env?: Record<string, string>;
}

interface Journal {
  highest: string;
  lines: { token: string; line: string }[];
  refused: { token: string; line: string }[];
}

let cluster: TestCluster;
test.before(async () => {
  cluster = await startCluster({
    nodes: 4,
    leaseTtlSeconds: LEASE_TTL_SECONDS,
    settings: [
      { labels: { keeps: 'journal' } },
      { labels: { keeps: 'scribe' } },
      { labels: { keeps: 'scribe' } },
      { roles: ['proxy'] },
    ],
  });
  const { proxyPort } = cluster.node('node-4');
  const documents = parseAllDocuments(readFileSync(SAMPLE, 'utf8')).map(read => read.toJS() as Manifest);
  const [journal, scribe] = documents.map(document => ({
    ...document,
    source: { path: join(dirname(SAMPLE), document.source.path) },
    placement: { requires: { keeps: document.metadata.id } },
  }));
  scribe!.env = { ...scribe!.env, JOURNAL_URL: `http://127.0.0.1:${proxyPort}`, EVERY_MS: '50' };
  const file = join(cluster.directory, 'fencing.json');
  await writeFile(file, [journal, scribe].map(document => JSON.stringify(document)).join('\n---\n'));
  const { code, stderr } = await hop3(['apply', file], cluster.node('node-1').url);
  if (code !== 0) throw new Error(stderr);
});
test.after.always(() => cluster.stop());

/** What the journal holds, once it answers. */
function read(): Promise<Journal> {
  return until('the journal answers', async () => {
    const { status, body } = await fromWeb(cluster.node('node-4').proxyPort, 'journal.localhost');
    return status === 200 ? (JSON.parse(body) as Journal) : null;
  });
}

test('a whole node that was frozen writes nothing more, though it tries', async t => {
  await until('the scribe writes', async () => (await read()).lines.length > 3);
  const [scribe] = await cluster.ready('scribe', 1);
  const node = cluster.node(scribe!.node!);
  // Suspension stops the guard as well: what is left is the token.
  const members = livingMembers(scribe!.pid!);
  const writer = members.find(({ pid }) => commandOf(pid) === 'node scribe.cjs')!;
  node.signal('SIGSTOP');
  for (const { pid } of members) process.kill(pid, 'SIGSTOP');
  const before = await read();
  await until(
    'another node writes',
    async () => BigInt((await read()).highest) > BigInt(before.highest),
    (2 * LEASE_TTL_SECONDS + 20) * 1000,
  );
  // It wakes before its guard does, and before its agent.
  process.kill(writer.pid, 'SIGCONT');
  const after = await until('its write is refused', async () => {
    const journal = await read();
    return journal.refused.length > 0 ? journal : null;
  });
  for (const { pid } of members) process.kill(pid, 'SIGCONT');
  node.signal('SIGCONT');
  t.is(after.refused[0]!.token, before.highest);
  const tokens = after.lines.map(({ token }) => BigInt(token));
  t.deepEqual(
    tokens,
    [...tokens].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)),
    'tokens only grow',
  );
  await until('the frozen copy is gone', () => commandOf(writer.pid) === null);
  const { body } = await fromWeb(cluster.node('node-4').proxyPort, 'journal.localhost', '/metrics');
  t.true(Number(/^journal_stale_writes_refused_total (\d+)$/m.exec(body)?.[1]) >= after.refused.length);
  t.log(`${after.lines.length} lines written, ${after.refused.length} stale attempts refused, 0 accepted`);
});

function commandOf(pid: number): string | null {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim() || null;
  } catch {
    return null;
  }
}
