import type { CommandContext } from '../context.ts';
import { DEV_STATE_DIR, type DevOrder } from '../daemon.ts';
import { usageFailure } from '../failure.ts';
import type { Invocation } from '../invocation.ts';

export async function dev(context: CommandContext, call: Invocation): Promise<number> {
  return context.io.daemon.dev(
    { order: orderOf(context, call), stateDir: context.path(call.text('stateDir') ?? DEV_STATE_DIR) },
    context.io.signal,
  );
}

function orderOf(context: CommandContext, call: Invocation): DevOrder {
  const kill = call.text('kill');
  const start = call.text('start');
  const stop = call.flag('stop');
  const files = call.argumentsFrom(0).map(context.path);
  const orders = [kill !== null && '--kill', start !== null && '--start', stop && '--stop'].filter(Boolean);
  if (orders.length > 1) {
    throw usageFailure(`${orders.join(' and ')} cannot be said together`, 'one at a time');
  }
  if (orders.length > 0 && files.length > 0) {
    throw usageFailure(
      `${orders.join()} takes no files`,
      'hop3-agent apply FILE… gives files to a running cluster',
    );
  }
  if (kill !== null) return { kind: 'kill-node', node: kill };
  if (start !== null) return { kind: 'start-node', node: start };
  if (stop) return { kind: 'stop' };
  return {
    kind: 'start',
    files,
    nodes: call.number('nodes') ?? 3,
    proxyPort: call.number('proxyPort') ?? 8080,
    apiPort: call.number('apiPort') ?? 7301,
    leaseTtlSeconds: call.number('leaseTtl'),
    logLevel: call.text('logLevel'),
    fresh: call.flag('fresh'),
  };
}
