import type { ApiClient } from '../../api/client.ts';
import { apiTarget, commandContext } from '../context.ts';
import type { CliIo } from '../io.ts';
import { Output } from '../output.ts';

type Live = 'apps' | 'targets' | 'nodes' | 'promises' | 'agents' | 'plans' | 'schedules';

const PATIENCE_MS = 1500;
/** Of who reads an error message anyway. */
const HINT_PATIENCE_MS = 5000;

/** Names that exist in the cluster now, each with what it is; none when the API does not answer in time. */
export async function liveWords(
  what: Live,
  io: CliIo,
  words: string[],
): Promise<{ value: string; about: string }[]> {
  const named = words.includes('--api') ? words[words.indexOf('--api') + 1] : undefined;
  try {
    const target = apiTarget({ api: named ?? null, token: null }, io.env);
    const { api } = commandContext(io, new Output(io, { json: false, color: false }), target);
    return await wordsThere(what, await api(), io.signal, PATIENCE_MS);
  } catch {
    // Somebody pressed Tab: an error message would only garble their line, and no suggestion is a true answer.
    return [];
  }
}

/** The names alone, for a hint. */
export async function liveNames(what: Live, api: ApiClient, signal: AbortSignal): Promise<string[]> {
  // What has failed already is told in any case; nobody waits for a hint, or reads why there is none.
  const words = await wordsThere(what, api, signal, HINT_PATIENCE_MS).catch(() => []);
  return words.map(({ value }) => value);
}

/** @throws ApiError, ApiUnreachable */
export async function namesThere(what: Live, api: ApiClient, signal: AbortSignal): Promise<string[]> {
  return (await wordsOf[what](api, signal)).map(({ value }) => value);
}

function wordsThere(
  what: Live,
  api: ApiClient,
  signal: AbortSignal,
  patienceMs: number,
): ReturnType<WordsOf> {
  return wordsOf[what](api, AbortSignal.any([signal, AbortSignal.timeout(patienceMs)]));
}

type WordsOf = (api: ApiClient, signal: AbortSignal) => Promise<{ value: string; about: string }[]>;

const wordsOf: Record<Live, WordsOf> = {
  apps: async (api, signal) => {
    const { items } = await api.apps(signal);
    return items.map(app => ({ value: app.app, about: app.title ?? '' }));
  },
  nodes: async (api, signal) => {
    const { items } = await api.nodes(signal);
    return items.map(node => ({ value: node.name, about: node.state }));
  },
  agents: async (api, signal) => {
    const { items } = await api.agents(signal);
    return items.map(agent => ({ value: agent.name, about: agent.state }));
  },
  plans: async (api, signal) => {
    const { items } = await api.plans({}, signal);
    return items.map(plan => ({ value: plan.plan, about: plan.title ?? plan.state }));
  },
  schedules: async (api, signal) => {
    const { items } = await api.schedules(signal);
    return items.map(schedule => ({ value: schedule.name, about: schedule.schedule.expression }));
  },
  targets: async (api, signal) => {
    const { items } = await api.instances({}, signal);
    const apps = unique(items.map(instance => instance.app));
    const types = unique(items.map(instance => `${instance.app}/${instance.process}`));
    return [...apps, ...types, ...items.map(instance => instance.instance)].map(plain);
  },
  promises: async (api, signal) => {
    const [instances, promises] = await Promise.all([api.instances({}, signal), api.promises({}, signal)]);
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
