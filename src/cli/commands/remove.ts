import type { CommandContext } from '../context.ts';
import { EXIT, usageFailure } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import type { CliIo } from '../io.ts';
import { processesText } from './process-words.ts';

export async function remove({ api, io, out }: CommandContext, call: Invocation): Promise<number> {
  const name = call.argument(0);
  const client = await api();
  const app = await client.app(name, io.signal);
  if (!call.flag('yes')) {
    if (!io.canAsk)
      throw usageFailure(`removing ${name} must be confirmed`, `hop3-agent remove ${name} --yes`);
    io.stderr.write(
      `Remove ${name} (${processesText(app)})? Its data directories stay on their nodes. [y/N] `,
    );
    if (!/^y(es)?$/i.test(await readLine(io))) {
      out.note('nothing was removed');
      return EXIT.failed;
    }
  }
  await client.remove(name, io.signal);
  out.answer({ app: name, removing: true }, () => `${name}: removing, its instances are being stopped\n`);
  return EXIT.ok;
}

async function readLine(io: CliIo): Promise<string> {
  let text = '';
  for await (const chunk of io.stdin) {
    text += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('utf8');
    if (text.includes('\n')) break;
  }
  return (text.split('\n')[0] ?? '').trim();
}
