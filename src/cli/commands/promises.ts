import type { PromiseView } from '../../model/views.ts';
import type { CommandContext } from '../context.ts';
import { EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import type { Output } from '../output.ts';
import { requireKnown } from '../require-known.ts';

interface Filter {
  of?: string;
  outcome?: string;
  kind?: string;
  app?: string;
}

export async function promises(context: CommandContext, call: Invocation): Promise<number> {
  const filter: Filter = Object.fromEntries(
    [
      ['of', call.text('of')],
      ['outcome', call.flag('broken') ? 'broken' : null],
      ['kind', call.text('kind')],
      ['app', call.text('app')],
    ].filter(([, value]) => value !== null) as [string, string][],
  );
  return call.flag('watch') ? watch(context, filter) : show(context, filter);
}

async function show(context: CommandContext, filter: Filter): Promise<number> {
  const { api, out, io } = context;
  const listing = await (await api()).promises(filter, io.signal);
  if (listing.items.length === 0) {
    if (filter.of !== undefined) await requireKnown(context, 'nodes', filter.of);
    if (filter.app !== undefined) await requireKnown(context, 'apps', filter.app);
  }
  out.answer(listing, () =>
    listing.items.length === 0 ? 'no such promises\n' : promiseTable(listing.items, out),
  );
  return EXIT.ok;
}

function promiseTable(items: PromiseView[], out: Output): string {
  return out.table(
    ['PROMISER', 'PROMISE', 'TO', 'OUTCOME', 'JUDGED BY', 'EVIDENCE', 'MADE'],
    items.map(promise => [
      promise.promiser,
      promise.name,
      promise.promisee,
      out.state(promise.outcome),
      judges(promise),
      newestEvidence(promise),
      out.when(promise.madeAt),
    ]),
  );
}

/** `2 kept, 1 broken of 3`: judgements, of those who ought to judge. */
function judges(promise: PromiseView): string {
  const counts = new Map<string, number>();
  for (const { outcome } of promise.assessments) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  const said = [...counts].map(([outcome, count]) => `${count} ${outcome}`).join(', ') || 'nobody';
  return promise.observers.length === 0 ? said : `${said} of ${promise.observers.length}`;
}

/** Of whoever judged as the whole was judged, the newest. */
function newestEvidence(promise: PromiseView): string {
  const agreeing = promise.assessments.filter(assessment => assessment.outcome === promise.outcome);
  const newest = agreeing.toSorted((a, b) => b.at.localeCompare(a.at))[0];
  return newest === undefined ? '-' : `${newest.assessor}: ${newest.evidence}`;
}

const LOOK_EVERY_MS = 1000;

/** All of them once, then each that is made, changes or goes, as a line of its own. */
async function watch({ api, out, io }: CommandContext, filter: Filter): Promise<number> {
  const client = await api();
  let known = new Map<string, PromiseView>();
  for (;;) {
    const { items } = await client.promises(filter, io.signal);
    const now = new Map(items.map(promise => [`${promise.promiser}/${promise.name}`, promise]));
    for (const [name, promise] of now) {
      if (known.get(name)?.outcome !== promise.outcome || known.get(name)?.madeAt !== promise.madeAt) {
        out.item(promise, () =>
          [out.state(promise.outcome), name, judges(promise), newestEvidence(promise)].join('  '),
        );
      }
    }
    for (const [name, promise] of known) {
      if (!now.has(name))
        out.item({ ...promise, outcome: 'gone' }, () => `${out.paint.dim('gone')}  ${name}`);
    }
    known = now;
    await io.sleep(LOOK_EVERY_MS, io.signal);
  }
}
