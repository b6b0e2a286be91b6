import type { CommandContext } from '../context.ts';
import { EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';

export async function logs({ api, out, io }: CommandContext, call: Invocation): Promise<number> {
  const target = call.argument(0);
  const single = target.split('/').length === 3;
  const lines = (await api()).logs(
    target,
    { lines: call.number('lines') ?? 100, follow: call.flag('follow') },
    io.signal,
  );
  const paintOf = instancePaints([
    out.paint.cyan,
    out.paint.magenta,
    out.paint.blue,
    out.paint.yellow,
    out.paint.green,
  ]);
  for await (const line of lines) {
    out.item(line, () => (single ? line.text : `${paintOf(line.instance)(line.instance)}  ${line.text}`));
  }
  return EXIT.ok;
}

type Painter = (text: string) => string;

/** The same colour for the same instance, in turn by first appearance. */
function instancePaints(painters: Painter[]): (instance: string) => Painter {
  const chosen = new Map<string, Painter>();
  return instance => {
    const painter = chosen.get(instance) ?? painters[chosen.size % painters.length] ?? String;
    chosen.set(instance, painter);
    return painter;
  };
}
