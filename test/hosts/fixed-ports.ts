import assert from 'node:assert/strict';
import { readyInstances, type Fleet } from './fleet.ts';

const APP = 'mail';
const PORT = 25;
/** Greets with the user it runs as. */
const SERVER = `require('net')
  .createServer(socket => socket.end(process.getuid() + '\\n'))
  .listen(process.env.PORT_SMTP, process.env.BIND_ADDRESS);`;

/** That the sandbox of a unit lets it have a port that else only root may have, and that a host gives it to one instance. */
export async function lowPort({ nodes }: Fleet): Promise<string> {
  const [{ host }] = nodes;
  const manifest = (copies: number): string =>
    JSON.stringify({
      metadata: { id: APP },
      source: { path: '/srv/mail' },
      run: { workers: { smtp: 'exec node smtp.cjs' } },
      ports: [{ number: PORT, name: 'smtp' }],
      exclusive: [],
      scale: { smtp: copies },
    });
  await host.write('/srv/mail/smtp.cjs', SERVER);
  await host.write('/srv/mail.yaml', manifest(nodes.length));
  await host.write('/srv/too-many.yaml', manifest(nodes.length + 1));
  await host.must(['hop3-agent', 'apply', '/srv/mail.yaml', '--wait']);
  try {
    const instances = await readyInstances(nodes[0], APP, nodes.length);
    assert.equal(new Set(instances.map(({ node }) => node)).size, nodes.length, 'one on each host');
    const users = await Promise.all(nodes.map(node => greeting(nodes[0], node.host.address)));
    assert.ok(!users.includes('0'), 'none of them is root');
    const refused = await host.run(['hop3-agent', 'apply', '/srv/too-many.yaml']);
    assert.equal(refused.code, 6, refused.stderr);
    assert.match(refused.stderr, /ports\[0\]\.number: port 25\/tcp can be had once on each node/);
    return `port ${PORT} of each host answers, as user ${[...new Set(users)].join(' and ')}`;
  } finally {
    await host.must(['hop3-agent', 'remove', APP, '--yes']);
  }
}

async function greeting({ host }: Fleet['nodes'][0], address: string): Promise<string> {
  const said = await host.must([
    'bash',
    '-c',
    `read -r -t 10 user < /dev/tcp/${address}/${PORT}; echo "$user"`,
  ]);
  const user = said.trim();
  assert.match(user, /^\d+$/, `port ${PORT} of ${address}`);
  return user;
}
