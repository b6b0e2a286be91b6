import type { CommandContext } from '../context.ts';
import { EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import { nodeOfCluster, reportText } from './cluster-words.ts';

export async function clusterInit(context: CommandContext, call: Invocation): Promise<number> {
  const report = await context.io.daemon.clusterInit({
    ...(await nodeOfCluster(context, call)),
    cluster: call.text('cluster'),
    etcdEndpoints: call.text('etcd')?.split(',') ?? null,
    renew: call.flag('renew'),
  });
  context.out.answer(report, () => reportText(report, context.out));
  return EXIT.ok;
}
