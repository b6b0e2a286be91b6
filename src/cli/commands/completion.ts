import { completionScripts } from '../completion/scripts.ts';
import type { CommandContext } from '../context.ts';
import { EXIT, usageFailure } from '../failure.ts';
import type { Invocation } from '../invocation.ts';

export function completion(context: CommandContext, call: Invocation): Promise<number> {
  const shell = call.argument(0);
  if (shell !== 'bash' && shell !== 'zsh' && shell !== 'fish') {
    throw usageFailure(`there is no completion for "${shell}"`, 'bash, zsh or fish');
  }
  const script = completionScripts[shell];
  context.out.answer({ shell, script }, () => script);
  return Promise.resolve(EXIT.ok);
}
