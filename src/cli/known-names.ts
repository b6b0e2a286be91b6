import { ApiError } from '../api/client.ts';
import { suggestion } from '../manifest/nearest.ts';
import { liveNames } from './completion/live-words.ts';
import type { CommandContext } from './context.ts';
import { CliFailure, EXIT } from './failure.ts';
import { listing } from './require-known.ts';
import type { CommandDefinition, Completes } from './surface.ts';

/**
 * What a command has failed with; when the cluster does not know a name that was typed, with the name that may have
 * been meant, or with the command that shows which there are.
 */
export async function withKnownNames(
  error: unknown,
  definition: CommandDefinition,
  words: string[],
  context: CommandContext,
): Promise<unknown> {
  if (!(error instanceof ApiError) || error.status !== 404 || error.isForeign) return error;
  if (typeof error.problem['hint'] === 'string') return error;
  const hints = await Promise.all(
    definition.arguments.map(async ({ completes }, index) => {
      const word = words[index];
      if (word === undefined || !isLive(completes)) return null;
      const known = await liveNames(completes, await context.api(), context.io.signal);
      return known.includes(word) ? null : (suggestion(word, known) ?? `${listing[completes]} shows them`);
    }),
  );
  const hint = hints.find(found => found !== null) ?? null;
  return hint === null ? error : new CliFailure(EXIT.notFound, error.message, { hint, cause: error });
}

type Live = keyof typeof listing;

function isLive(completes: Completes | undefined): completes is Live {
  return typeof completes === 'string' && completes in listing;
}
