import type { CommandContext } from '../context.ts';
import { EXIT, usageFailure } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import { nodeOfCluster, reportText } from './cluster-words.ts';

export async function clusterJoin(context: CommandContext, call: Invocation): Promise<number> {
  const { token } = context.target;
  if (token === null) {
    throw usageFailure('a join token is needed', '--token hop3join.…, as hop3-agent cluster token prints it');
  }
  const options = { ...(await nodeOfCluster(context, call)), url: call.argument(0), token };
  const report = await context.io.daemon.clusterJoin(options, context.io.signal);
  context.out.answer(report, () => reportText(report, context.out));
  return EXIT.ok;
}
