import type { NodeFlags } from '../../manifest/node-overrides.ts';
import type { CommandContext } from '../context.ts';
import type { Invocation } from '../invocation.ts';

export async function run(context: CommandContext, call: Invocation): Promise<number> {
  const file = call.text('config');
  return context.io.daemon.run(
    { configFile: file === null ? null : context.path(file), flags: nodeFlags(context, call) },
    context.io.signal,
  );
}

function nodeFlags(context: CommandContext, call: Invocation): NodeFlags {
  const labels = call.pairs('label');
  const roles = call.list('role');
  const stateDir = call.text('stateDir');
  return given({
    name: call.text('name'),
    stateDir: stateDir === null ? null : context.path(stateDir),
    etcdEndpoints: call.text('etcd')?.split(',') ?? null,
    admin: call.text('admin'),
    rpc: call.text('rpc'),
    peer: call.text('peer'),
    labels: Object.keys(labels).length > 0 ? labels : null,
    roles: roles.length > 0 ? roles : null,
    leaseTtlSeconds: call.number('leaseTtl'),
    logLevel: call.text('logLevel'),
    driver: call.text('driver'),
    proxyPort: call.number('proxyPort'),
  });
}

/** Without what is null. */
function given(flags: { [K in keyof NodeFlags]-?: NonNullable<NodeFlags[K]> | null }): NodeFlags {
  return Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== null));
}
