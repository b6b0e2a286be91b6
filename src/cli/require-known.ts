import { suggestion } from '../manifest/nearest.ts';
import { namesThere } from './completion/live-words.ts';
import type { CommandContext } from './context.ts';
import { CliFailure, EXIT } from './failure.ts';

/** What shows the names of each kind that there are. */
export const listing = {
  apps: 'hop3-agent status',
  targets: 'hop3-agent status',
  promises: 'hop3-agent promises',
  nodes: 'hop3-agent nodes',
  agents: 'hop3-agent agents',
  plans: 'hop3-agent batch list',
  schedules: 'hop3-agent schedule list',
};

const nouns = {
  apps: 'app',
  nodes: 'node',
  targets: 'instance',
  agents: 'named agent',
  schedules: 'schedule',
};

/**
 * Of something that found nothing: whether there is what it was asked of. @throws CliFailure (not found) with the name that may have
 * been meant; ApiError
 */
export async function requireKnown(
  { api, io }: CommandContext,
  what: keyof typeof nouns,
  name: string,
): Promise<void> {
  const known = await namesThere(what, await api(), io.signal);
  if (known.includes(name)) return;
  throw new CliFailure(EXIT.notFound, `there is no ${nouns[what]} "${name}"`, {
    hint: suggestion(name, known) ?? `${listing[what]} shows them`,
  });
}
