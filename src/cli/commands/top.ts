import { emitKeypressEvents } from 'node:readline';
import { ApiUnreachable } from '../../api/client.ts';
import type { AppView, InstanceView, NodeView } from '../../model/views.ts';
import type { CommandContext } from '../context.ts';
import { EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import type { CliIo } from '../io.ts';
import { countText } from '../words.ts';
import { nodeTable } from './nodes.ts';
import { conditionOf, instanceTable } from './status.ts';

interface Picture {
  revision: string;
  nodes: NodeView[];
  apps: AppView[];
  instances: InstanceView[];
}

export async function top(context: CommandContext, call: Invocation): Promise<number> {
  if (call.flag('once')) {
    const picture = await look(context);
    context.out.answer(picture, () => pictureText(picture, context));
    return EXIT.ok;
  }
  const intervalMs = (call.number('interval') ?? 2) * 1000;
  return context.io.isTty && !context.out.json
    ? onScreen(context, intervalMs)
    : printAgainAndAgain(context, intervalMs);
}

async function look({ api, io }: CommandContext): Promise<Picture> {
  const client = await api();
  const [nodes, apps, instances] = await Promise.all([
    client.nodes(io.signal),
    client.apps(io.signal),
    client.instances({}, io.signal),
  ]);
  return { revision: instances.revision, nodes: nodes.items, apps: apps.items, instances: instances.items };
}

function pictureText({ nodes, apps, instances }: Picture, { out, target }: CommandContext): string {
  const ready = instances.filter(instance => instance.ready).length;
  const troubled = apps
    .filter(app => conditionOf(app) !== 'Ready')
    .map(app => `${app.app} ${conditionOf(app)}`);
  const head = [
    `hop3-agent ${target.text}`,
    countText(nodes.length, 'node'),
    countText(apps.length, 'app'),
    `${ready} of ${countText(instances.length, 'instance')} ready`,
    ...troubled,
  ].join(' · ');
  return `${out.paint.bold(head)}\n\n${nodeTable(nodes, out)}\n${instanceTable(instances, out)}`;
}

async function printAgainAndAgain(context: CommandContext, intervalMs: number): Promise<never> {
  for (;;) {
    const picture = await look(context);
    context.out.item(picture, () => pictureText(picture, context));
    await context.io.sleep(intervalMs, context.io.signal);
  }
}

/** On the terminal's other screen, which is left again however this ends. An agent that goes away is waited for. */
async function onScreen(context: CommandContext, intervalMs: number): Promise<number> {
  const { io, out } = context;
  const quitting = new AbortController();
  const signal = AbortSignal.any([io.signal, quitting.signal]);
  let text = pictureText(await look(context), context);
  const draw = (): void => io.stdout.write(frameOf(text, io));
  io.stdout.write(ENTER);
  const keys = onKey(io, key => key === 'q' && quitting.abort());
  const resizes = onResize(io, draw);
  try {
    for (;;) {
      draw();
      await io.sleep(intervalMs, signal);
      text = await look(context).then(
        picture => pictureText(picture, context),
        (error: unknown) => {
          if (!(error instanceof ApiUnreachable)) throw error;
          return withTrouble(text, out.paint.red(error.message));
        },
      );
    }
  } catch (error) {
    if (quitting.signal.aborted && !io.signal.aborted) return EXIT.ok;
    throw error;
  } finally {
    keys.stop();
    resizes.stop();
    io.stdout.write(LEAVE);
  }
}

/** The picture as it was last, with the trouble in the empty line below its head. */
function withTrouble(text: string, trouble: string): string {
  const [head = '', , ...rest] = text.split('\n');
  return [head, trouble, ...rest].join('\n');
}

/** The other screen, without a cursor. */
const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?1049l';

/** As many lines as fit, drawn in one go (synchronized output) over what was there. */
function frameOf(text: string, { stdout }: CliIo): string {
  const rows = stdout.rows ?? 24;
  const lines = text.trimEnd().split('\n');
  const shown =
    lines.length <= rows ? lines : [...lines.slice(0, rows - 1), `… ${lines.length - rows + 1} more lines`];
  // Long lines are cut by the terminal: no wrapping while the frame is drawn.
  return `\x1b[?2026h\x1b[?7l\x1b[H${shown.map(line => `${line}\x1b[K`).join('\n')}\x1b[J\x1b[?7h\x1b[?2026l`;
}

function onResize(io: CliIo, listener: () => void): { stop: () => void } {
  const terminal = io.stdout as Partial<NodeJS.WriteStream>;
  terminal.on?.('resize', listener);
  return { stop: () => void terminal.off?.('resize', listener) };
}

/** Keys one by one where stdin is a terminal. Ctrl-C comes as a key then, and is handed on as the signal it stands for. */
function onKey(io: CliIo, listener: (key: string) => void): { stop: () => void } {
  const input = io.canAsk ? (io.stdin as Partial<NodeJS.ReadStream>) : {};
  if (input.setRawMode === undefined) return { stop: () => undefined };
  const stdin = input as NodeJS.ReadStream;
  const pressed = (_text: string | undefined, key: { name?: string; ctrl?: boolean }) => {
    if (key.ctrl && key.name === 'c') process.kill(process.pid, 'SIGINT');
    else if (key.name !== undefined) listener(key.name);
  };
  emitKeypressEvents(stdin);
  stdin.setRawMode(true).resume();
  stdin.on('keypress', pressed);
  return {
    stop: () => {
      stdin.off('keypress', pressed).setRawMode(false).pause();
    },
  };
}
