import { CliFailure, EXIT } from '../cli/failure.ts';
import { lockStateDir, StateInUse, type StateLock } from '../platform/state-lock.ts';

/** The lock of a state directory. @throws CliFailure, a conflict with this hint when another has it */
export async function lockState(stateDir: string, hint: string | null): Promise<StateLock> {
  return lockStateDir(stateDir).catch((error: unknown) => {
    if (error instanceof StateInUse)
      throw new CliFailure(EXIT.conflict, error.message, { hint, cause: error });
    throw error;
  });
}
