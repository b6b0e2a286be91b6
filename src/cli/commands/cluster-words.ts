import type { CommandContext } from '../context.ts';
import type { ClusterInitOptions, ClusterReport } from '../daemon.ts';
import { usageFailure } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import type { Output } from '../output.ts';

const PASSWORD = 'HOP3_AGENT_ETCD_ROOT_PASSWORD';

type NodeOptions = Pick<ClusterInitOptions, 'configFile' | 'name' | 'addresses' | 'etcdRootPassword'>;

/** What `cluster init` and `cluster join` are both told of the node. */
export async function nodeOfCluster(context: CommandContext, call: Invocation): Promise<NodeOptions> {
  return {
    configFile: context.path(call.text('config') ?? '/etc/hop3/agent.yaml'),
    name: call.text('name'),
    addresses: call.list('address'),
    etcdRootPassword: call.flag('etcdUsers') ? await rootPassword(context) : null,
  };
}

export function reportText(report: ClusterReport, { paint }: Output): string {
  const { certificate, made, kept, next, fingerprint, node } = report;
  const lines = (heading: string, paintIt: (text: string) => string, items: string[]): string[] =>
    items.map((item, index) => `${index === 0 ? paintIt(heading.padEnd(6)) : ' '.repeat(6)}${item}`);
  return [
    ...lines('made', paint.green, made),
    ...lines('kept', paint.dim, kept),
    `${node} speaks for ${certificate.names.join(', ')} until ${certificate.endsAt}`,
    `the authority's fingerprint is ${fingerprint}`,
    ...lines('next', paint.cyan, next),
    '',
  ].join('\n');
}

async function rootPassword({ io }: CommandContext): Promise<string> {
  const given = io.env[PASSWORD];
  if (given !== undefined && given !== '') return given;
  if (!io.canAsk) throw usageFailure("the password of etcd's user root is needed", `${PASSWORD}=…`);
  const password = await io.askSecret("Password of etcd's user root (it is not kept): ");
  if (password === '') throw usageFailure('root needs a password');
  return password;
}
