import { apiTarget, commandContext } from '../context.ts';
import type { CommandContext } from '../context.ts';
import type { CliIo } from '../io.ts';
import { Output } from '../output.ts';

type Live = 'apps' | 'targets' | 'nodes' | 'promises';

const PATIENCE_MS = 800;

/** Names that exist in the cluster now; none when the API does not answer in time. */
export async function liveWords(
  what: Live,
  io: CliIo,
  words: string[],
): Promise<{ value: string; about: string }[]> {
  const named = words[words.indexOf('--api') + 1];
  try {
    const target = apiTarget({ api: words.includes('--api') && named ? named : null, token: null }, io.env);
    const context = commandContext(io, new Output(io, { json: false, color: false }), target);
    return await Promise.race([wordsOf[what](context), late(io)]);
  } catch {
    // Somebody pressed Tab: an error message would only garble their line, and no suggestion is a true answer.
    return [];
  }
}

async function late(io: CliIo): Promise<never[]> {
  await io.sleep(PATIENCE_MS, io.signal);
  return [];
}

const wordsOf: Record<Live, (context: CommandContext) => Promise<{ value: string; about: string }[]>> = {
  apps: async context => {
    const { items } = await (await context.api()).apps();
    return items.map(app => ({ value: app.app, about: app.title ?? '' }));
  },
  nodes: async context => {
    const { items } = await (await context.api()).nodes();
    return items.map(node => ({ value: node.name, about: node.state }));
  },
  targets: async context => {
    const { items } = await (await context.api()).instances({});
    const apps = unique(items.map(instance => instance.app));
    const types = unique(items.map(instance => `${instance.app}/${instance.process}`));
    return [...apps, ...types, ...items.map(instance => instance.instance)].map(plain);
  },
  promises: async context => {
    const api = await context.api();
    const [instances, promises] = await Promise.all([api.instances({}), api.promises({})]);
    return [
      ...instances.items.map(instance => plain(instance.instance)),
      ...promises.items.map(promise => plain(`${promise.promiser}/${promise.name}`)),
    ];
  },
};

function unique(words: string[]): string[] {
  return [...new Set(words)];
}

function plain(value: string): { value: string; about: string } {
  return { value, about: '' };
}
