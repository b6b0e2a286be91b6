import { ApiUnreachable } from '../../api/client.ts';
import type { LogLine } from '../../model/views.ts';
import type { CommandContext } from '../context.ts';
import { EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';

const RETRY_MS = 1000;

export async function logs(context: CommandContext, call: Invocation): Promise<number> {
  const { api, out, io } = context;
  const target = call.argument(0);
  const lines = call.number('lines') ?? 100;
  const single = target.split('/').length === 3;
  const paintOf = instancePaints([
    out.paint.cyan,
    out.paint.magenta,
    out.paint.blue,
    out.paint.yellow,
    out.paint.green,
  ]);
  const tell = (line: LogLine): void =>
    out.item(line, () => (single ? line.text : `${paintOf(line.instance)(line.instance)}  ${line.text}`));
  if (call.flag('follow')) return follow(context, { target, lines }, tell);
  for await (const line of (await api()).logs(target, { lines }, io.signal)) tell(line);
  return EXIT.ok;
}

/** Goes on where it was when the agent goes away for a while, so that no line is missed or shown twice. */
async function follow(
  { api, out, io }: CommandContext,
  { target, lines }: { target: string; lines: number },
  tell: (line: LogLine) => void,
): Promise<number> {
  const client = await api();
  let lastId = '';
  let heard = false;
  for (;;) {
    try {
      for await (const { id, value } of client.followLogs(target, { lines, lastId }, io.signal)) {
        lastId = id;
        if (value !== null) tell({ ...value, ...(id !== '' && { cursor: id }) });
        heard = true;
      }
      heard = true;
    } catch (error) {
      if (!(error instanceof ApiUnreachable) || !heard) throw error;
      out.note(`${error.message}; trying again`);
    }
    await io.sleep(RETRY_MS, io.signal);
  }
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
