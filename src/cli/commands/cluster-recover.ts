import type { CommandContext } from '../context.ts';
import { CliFailure, EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';

export async function clusterRecover({ api, io, out }: CommandContext, call: Invocation): Promise<number> {
  if (!call.flag('restored')) {
    throw new CliFailure(
      EXIT.usage,
      'nothing was done: say --restored when etcd was restored from a backup',
      {
        hint: 'until then every node keeps its hands off what it owned; exclusive processes have been stopped',
      },
    );
  }
  const { epoch, tokenBase } = await (await api()).recover(io.signal);
  out.answer({ epoch, tokenBase }, () =>
    [
      `epoch ${epoch} is open: fencing tokens go on from ${tokenBase}.`,
      'Nodes come back by themselves; exclusive processes start when the longest lease has run out.',
      'What was written after the backup is lost: look through "hop3-agent status", and apply again what is missing.',
      '',
    ].join('\n'),
  );
  return EXIT.ok;
}
