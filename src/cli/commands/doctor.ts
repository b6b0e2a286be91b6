import { ApiUnreachable } from '../../api/client.ts';
import type { Doctor } from '../../model/views.ts';
import type { CommandContext } from '../context.ts';
import { EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import { checkMachine } from '../machine-checks.ts';
import { countText } from '../words.ts';

type Check = Doctor['checks'][number];

export async function doctor(context: CommandContext, call: Invocation): Promise<number> {
  const stateDir = call.text('stateDir');
  const { env, daemon } = context.io;
  const agent = await askAgent(context);
  const local = await checkMachine({
    env,
    stateDir: stateDir === null ? null : context.path(stateDir),
    // An agent that answers tells of the etcd that it really uses.
    etcdDefects: agent.answered ? () => Promise.resolve([]) : version => daemon.etcdDefects(version),
  });
  const answer: Doctor = { checks: [...local, ...agent.checks] };
  context.out.answer(answer, () => checksText(answer.checks, context));
  return answer.checks.some(check => check.status === 'fail') ? EXIT.failed : EXIT.ok;
}

/** Without an agent the machine can still be checked; who named one wants to hear of that one. */
async function askAgent({
  api,
  io,
  target,
}: CommandContext): Promise<{ answered: boolean; checks: Check[] }> {
  try {
    const { checks } = await (await api()).doctor(io.signal);
    const check: Check = { name: 'agent', status: 'ok', message: `answers at ${target.text}`, hint: null };
    return { answered: true, checks: [check, ...checks] };
  } catch (error) {
    if (!(error instanceof ApiUnreachable) || target.asked) throw error;
    const message = `none answers at ${target.text}`;
    const hint = 'hop3-agent run or hop3-agent dev starts one; --api URL asks another';
    return { answered: false, checks: [{ name: 'agent', status: 'warn', message, hint }] };
  }
}

function checksText(checks: Check[], { out }: CommandContext): string {
  const width = Math.max(...checks.map(check => check.name.length));
  const lines = checks.flatMap(({ name, status, message, hint }) => [
    `${out.state(status)}${' '.repeat(6 - status.length)}${name.padEnd(width)}  ${message}`,
    ...(hint === null ? [] : [`${' '.repeat(8 + width)}${out.paint.cyan('hint')}: ${hint}`]),
  ]);
  const bad = checks.filter(check => check.status !== 'ok');
  const summary = bad.length === 0 ? 'all is well' : countText(bad.length, 'thing') + ' to look at';
  return [...lines, summary, ''].join('\n');
}
