import { isUtf8 } from 'node:buffer';
import type { CommandContext } from '../context.ts';
import { EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import { stepsNamed } from '../plans/step-of.ts';

/** Byte for byte; with `--json`: `{plan, step, bytes, text}`, or `base64` instead of what is no text. */
export async function batchOutput({ api, io, out }: CommandContext, call: Invocation): Promise<number> {
  const plan = call.argument(0);
  const client = await api();
  const [step = 0] = await stepsNamed(client, plan, [call.argument(1)], io.signal);
  const chunks: Uint8Array[] = [];
  for await (const chunk of client.outputOf(plan, step, io.signal)) {
    if (out.json) chunks.push(chunk);
    else io.stdout.write(chunk);
  }
  if (!out.json) return EXIT.ok;
  const whole = Buffer.concat(chunks);
  const content = isUtf8(whole) ? { text: whole.toString('utf8') } : { base64: whole.toString('base64') };
  out.answer({ plan, step, bytes: whole.length, ...content }, () => '');
  return EXIT.ok;
}
