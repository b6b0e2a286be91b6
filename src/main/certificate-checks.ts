import { readFile } from 'node:fs/promises';
import { authorityFiles } from '../authority/authority-files.ts';
import { factsOf } from '../authority/certificates.ts';
import type { NodeConfig } from '../model/node-config.ts';
import type { Doctor } from '../model/views.ts';

type Check = Doctor['checks'][number];

const DAY_MS = 86_400_000;
/** Time enough to notice, and to go round all nodes. */
const SOON_DAYS = 30;

/** Of every certificate that this node's configuration names: whether it still counts, and for how long. */
export async function certificateChecks(config: NodeConfig, now: Date): Promise<Check[]> {
  const { peer, admin, etcd, authority } = config;
  const again =
    'hop3-agent cluster join again, or cluster init --renew where the authority is; then restart the agent';
  const files = new Map<string, string>();
  for (const tls of [peer.tls, admin.tls, etcd.kind === 'endpoints' ? etcd.tls : null]) {
    if (tls !== null) files.set(tls.cert, again);
  }
  if (authority !== undefined) {
    files.set(authorityFiles(authority).certificate, 'a new authority: every node has to join again');
  }
  return Promise.all([...files].map(([file, hint]) => certificateCheck(file, hint, now)));
}

async function certificateCheck(file: string, hint: string, now: Date): Promise<Check> {
  const name = 'certificate';
  try {
    const { endsAt } = factsOf(await readFile(file, 'utf8'));
    const days = Math.floor((endsAt.getTime() - now.getTime()) / DAY_MS);
    const date = endsAt.toISOString().slice(0, 10);
    if (days < 0) return { name, status: 'fail', message: `${file} ended on ${date}`, hint };
    const message = `${file} ends on ${date}, in ${days} days`;
    return days < SOON_DAYS
      ? { name, status: 'warn', message, hint }
      : { name, status: 'ok', message, hint: null };
  } catch (error) {
    return { name, status: 'fail', message: `${file}: ${(error as Error).message}`, hint };
  }
}
