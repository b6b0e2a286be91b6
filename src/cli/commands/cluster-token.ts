import type { CommandContext } from '../context.ts';
import { EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';

export async function clusterToken({ api, io, out }: CommandContext, call: Invocation): Promise<number> {
  const client = await api();
  const { admin } = await client.node(io.signal);
  const issued = await client.joinToken(
    { ttlSeconds: call.number('ttl') ?? 900, node: call.text('node') },
    io.signal,
  );
  const name = issued.node === null ? '' : ` --name ${issued.node}`;
  const command = `hop3-agent cluster join ${admin} --token ${issued.token}${name}`;
  const address = issued.node === null ? ' --address ADDRESS' : '';
  out.answer({ ...issued, url: admin, command }, () =>
    [
      `on ${issued.node ?? 'the machine that shall join, with the address that the others reach it by'}:`,
      '',
      `  ${command}${address}`,
      '',
      `It is good once, until ${issued.endsAt}; the authority's fingerprint is ${issued.fingerprint}.`,
      '',
    ].join('\n'),
  );
  if (!admin.startsWith('https:')) {
    out.note('warning: the admin API has no TLS here, so nobody can join: set admin.listen and admin.tls');
  }
  return EXIT.ok;
}
