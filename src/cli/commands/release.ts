import type { CommandContext } from '../context.ts';
import { CliFailure, EXIT, usageFailure } from '../failure.ts';
import type { Invocation } from '../invocation.ts';

const LOOK_EVERY_MS = 300;

export async function release(context: CommandContext, call: Invocation): Promise<number> {
  const node = call.text('mayStillRun');
  return node === null ? releaseName(context, call) : confirmStopped(context, call.argument(0), node);
}

/** Asks the owner's agent, and waits until it is done. */
async function releaseName({ api, io, out }: CommandContext, call: Invocation): Promise<number> {
  const name = call.argument(0).replace(/^agent\//, '');
  if (name.includes('/')) {
    throw usageFailure(
      `"${name}" is no named agent`,
      'of an instance only --may-still-run NODE can be taken back; hop3-agent agents lists the names',
    );
  }
  const client = await api();
  const had = await client.recallAgent(name, io.signal);
  out.note(`${had.owner} stops ${had.holder} and releases ${name}`);
  const untilMs = io.now() + (call.number('timeout') ?? 300) * 1000;
  for (;;) {
    const agent = await client.agentNamed(name, io.signal);
    if (agent.token !== had.token) {
      out.answer(
        agent,
        () => `${name}: ${agent.state}${agent.owner === null ? '' : `, by ${agent.owner}`}\n`,
      );
      return EXIT.ok;
    }
    if (io.now() > untilMs) {
      throw new CliFailure(EXIT.failed, `${name} is still held by ${had.holder} on ${had.owner}`, {
        hint: `hop3-agent events --subject agent/${name} tells what happens`,
      });
    }
    await io.sleep(LOOK_EVERY_MS, io.signal);
  }
}

/** Only who asks can know it: no agent of that node can be asked. */
async function confirmStopped(
  { api, io, out }: CommandContext,
  subject: string,
  node: string,
): Promise<number> {
  const whole = /^(instance|agent|step)\//.test(subject) ? subject : `instance/${subject}`;
  await (await api()).confirmStopped(whole, node, io.signal);
  out.answer({ subject: whole, node }, () => `${whole} counts as stopped on ${node}\n`);
  return EXIT.ok;
}
