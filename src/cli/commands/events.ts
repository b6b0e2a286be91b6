import { ApiUnreachable } from '../../api/client.ts';
import { suggestion } from '../../manifest/nearest.ts';
import type { EventView } from '../../model/views.ts';
import type { CommandContext } from '../context.ts';
import { CliFailure, EXIT, usageFailure } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import { requireKnown } from '../require-known.ts';

interface Asked {
  filter: { kind?: string; node?: string; subject?: string };
  since: string | null;
  lines: number;
}

export async function events(context: CommandContext, call: Invocation): Promise<number> {
  const since = call.text('since');
  const asked: Asked = {
    filter: {
      ...given('kind', call.text('kind')),
      ...given('node', call.text('node')),
      ...given('subject', call.text('subject')),
    },
    since,
    lines: call.number('lines') ?? (since === null ? 50 : 1000),
  };
  if (since !== null && !/^\d+$/.test(since)) {
    throw usageFailure(`"${since}" is not a revision`, 'a whole number, as in the first column of events');
  }
  return call.flag('follow') ? follow(context, asked) : show(context, asked);
}

function given(name: string, value: string | null): Record<string, string> {
  return value === null ? {} : { [name]: value };
}

async function show(context: CommandContext, asked: Asked): Promise<number> {
  const { api, out, io } = context;
  const { filter, since, lines } = asked;
  const listing = await (
    await api()
  ).events({ ...filter, limit: lines, ...given('after', since) }, io.signal);
  if (listing.items.length === 0) await lookForNames(context, filter);
  out.answer(listing, () => {
    if (listing.items.length === 0) return 'no such events\n';
    return out.table(
      ['REVISION', 'WHEN', 'NODE', 'KIND', 'SUBJECT', 'MESSAGE'],
      listing.items.map(event => cells(event, out.when(event.at))),
    );
  });
  return EXIT.ok;
}

const subjectsOf = {
  app: 'apps',
  node: 'nodes',
  instance: 'targets',
  agent: 'agents',
  schedule: 'schedules',
} as const;

/**
 * Why nothing was found: nothing happened, or a name is wrong. What is gone may still have its events.
 * @throws CliFailure (not found) when there is, and was, nothing of that name
 */
async function lookForNames(
  context: CommandContext,
  { kind, node, subject }: Asked['filter'],
): Promise<void> {
  const { api, io, out } = context;
  const client = await api();
  const isTold = async (filter: Asked['filter']): Promise<boolean> =>
    (await client.events({ ...filter, limit: 1 }, io.signal)).items.length > 0;
  if (node !== undefined && !(await isTold({ node }))) await requireKnown(context, 'nodes', node);
  if (subject !== undefined && !(await isTold({ subject }))) {
    const [, noun = '', name = ''] = /^([^/]*)\/(.+)$/.exec(subject) ?? [];
    if (noun in subjectsOf) await requireKnown(context, subjectsOf[noun as keyof typeof subjectsOf], name);
    else if (name === '') throw noSubject(subject);
  }
  if (kind === undefined || (await isTold({ kind }))) return;
  const { items } = await client.events({ limit: 1000 }, io.signal);
  const hint = suggestion(kind, [...new Set(items.map(event => event.kind))]);
  out.note(`nothing of the kind "${kind}" is in the ledger${hint === null ? '' : `: ${hint}`}`);
}

function noSubject(word: string): CliFailure {
  const hint = `a noun and a name, as in app/${word} or node/${word}`;
  return new CliFailure(EXIT.notFound, `"${word}" is no subject of events`, { hint });
}

function cells(event: EventView, when: string): string[] {
  return [event.revision, when, event.node, event.kind, event.subject, event.message];
}

const RETRY_MS = 1000;

/** Goes on where it was when the agent goes away for a while, so that no event is missed or shown twice. */
async function follow({ api, out, io }: CommandContext, asked: Asked): Promise<number> {
  const client = await api();
  let lastId = '';
  let heard = false;
  for (;;) {
    const start = asked.since === null ? { limit: asked.lines } : { after: asked.since };
    const place = lastId === '' ? start : { lastId };
    try {
      for await (const { id, value } of client.followEvents({ ...asked.filter, ...place }, io.signal)) {
        lastId = id;
        if (value !== null) out.item(value, () => lineOf(value));
        heard = true;
      }
      heard = true;
    } catch (error) {
      if (!(error instanceof ApiUnreachable) || !heard) throw error;
      out.note(`${error.message}; trying again`);
    }
    await io.sleep(RETRY_MS, io.signal);
  }
}

function lineOf(event: EventView): string {
  return [
    event.revision.padEnd(8),
    event.at.padEnd(24),
    event.node.padEnd(10),
    event.kind.padEnd(22),
    event.subject.padEnd(24),
    event.message,
  ].join('  ');
}
