import type { NodeView } from '../../model/views.ts';
import type { CommandContext } from '../context.ts';
import { CliFailure, EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import { countText } from '../words.ts';

const LOOK_EVERY_MS = 500;
/** A node that is briefly not to be had must not make this give up. */
const STUCK_AFTER_MS = 5000;

export async function drain(context: CommandContext, call: Invocation): Promise<number> {
  const { api, io, out } = context;
  const name = call.argument(0);
  const asked = await (await api()).drain(name, call.text('reason'), io.signal);
  const seen = call.flag('wait') ? await untilEmpty(context, name, call.number('timeout') ?? 300) : asked;
  out.answer(seen, () => `${name}: ${drainText(seen)}\n`);
  return EXIT.ok;
}

export async function undrain({ api, io, out }: CommandContext, call: Invocation): Promise<number> {
  const name = call.argument(0);
  const node = await (await api()).undrain(name, io.signal);
  out.answer(node, () => `${name}: takes work again\n`);
  return EXIT.ok;
}

/** As in `draining, 3 instances left`. */
export function drainText({ state, drain: progress }: Pick<NodeView, 'state' | 'drain'>): string {
  if (progress === null) {
    return state === 'Active' ? 'is asked to drain' : 'will drain when it is back';
  }
  const { left, stays } = progress;
  if (left === 0) return 'drained, nothing runs there any more';
  const staying = stays.length === 0 ? '' : ` (${stays.length} of them can't go anywhere)`;
  return `draining, ${countText(left, 'instance')} left${staying}`;
}

/** @throws CliFailure when what is left can't go anywhere, or after `timeoutSeconds` */
async function untilEmpty(
  { api, io, out }: CommandContext,
  name: string,
  timeoutSeconds: number,
): Promise<NodeView> {
  const client = await api();
  const endMs = io.now() + timeoutSeconds * 1000;
  let told = '';
  let stuckSinceMs: number | null = null;
  for (;;) {
    const node = await client.nodeNamed(name, io.signal);
    if (node.drain?.left === 0) return node;
    const stuck = node.drain !== null && node.drain.stays.length === node.drain.left;
    stuckSinceMs = stuck ? (stuckSinceMs ?? io.now()) : null;
    if (stuckSinceMs !== null && io.now() - stuckSinceMs >= STUCK_AFTER_MS) {
      throw notEmpty(node, `${name} is not empty: what is left has nowhere to go`);
    }
    if (io.now() >= endMs) throw notEmpty(node, `after ${timeoutSeconds} s ${name} is not empty yet`);
    const text = drainText(node);
    if (text !== told) out.note(`${name}: ${text}`);
    told = text;
    await io.sleep(LOOK_EVERY_MS, io.signal);
  }
}

function notEmpty({ name, drain: progress }: NodeView, message: string): CliFailure {
  return new CliFailure(EXIT.failed, message, {
    output: (progress?.stays ?? []).map(({ instance, why }) => `${instance} stays: ${why}`),
    hint: `it goes on trying; hop3-agent undrain ${name} lets it take work again`,
  });
}
