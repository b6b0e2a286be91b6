import test from 'ava';
import fc from 'fast-check';
import type { PlanEvent, PlanView, StepView } from '../../../src/model/plan-views.ts';
import { PlanFeed } from '../../../src/agent/plans/plan-feed.ts';

const STEPS = 150;

function told(changed: number, index: number | null, attempt: number): PlanEvent {
  const at = { revision: String(changed), changed: String(changed) };
  return index === null
    ? { kind: 'plan', ...at, plan: { plan: 'p', steps: STEPS, priority: attempt } as PlanView }
    : { kind: 'step', ...at, step: { index, attempt } as StepView };
}

/** What is known of each thing after these, and when it changed. */
function picture(events: readonly PlanEvent[]): Map<string, string> {
  return new Map(
    events.map(event =>
      event.kind === 'plan'
        ? ['plan', `${event.changed} ${event.plan.priority}`]
        : [`${event.step.index}`, `${event.changed} ${event.step.attempt}`],
    ),
  );
}

/** Changes of the plan (null) or a step; each is written one revision later than the one before, or with it. */
const change = fc.record({
  index: fc.option(fc.nat(STEPS - 1)),
  later: fc.boolean(),
  reads: fc.boolean(),
});

test('property: wherever a watcher is, and whenever its stream is cut, it hears the last of every thing', t => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 400 }), fc.nat(9), (changes, cutAfter) => {
      const feed = new PlanFeed();
      let revision = 1;
      feed.add(told(revision, null, 0));
      for (let index = 0; index < STEPS; index++) feed.add(told(revision, index, 0));
      feed.sort();
      const last = new Map<string, string>();
      const heard: PlanEvent[] = [];
      let place = 0;
      let batches = 0;
      const read = (): void => {
        const batch = feed.from(place);
        if (batch === null) return;
        heard.push(...batch.events);
        // Cut now and then: it goes on by revision, at a stream of its own.
        const isCut = batches++ % 10 === cutAfter;
        place = isCut ? feed.placeOf(batch.revision) : batch.next;
      };
      for (const [attempt, { index, later, reads }] of changes.entries()) {
        if (later) revision++;
        const event = told(revision, index, attempt + 1);
        feed.add(event);
        for (const [thing, is] of picture([event])) last.set(thing, is);
        if (reads) read();
      }
      for (let rounds = 0; feed.from(place) !== null && rounds < 100; rounds++) {
        read();
        batches = cutAfter + 1;
      }
      const known = picture(heard);
      for (const [thing, is] of last) t.is(known.get(thing), is, thing);
      t.is(known.size, STEPS + 1);
    }),
  );
});

test('what has changed a hundred times is told once, as it is now', t => {
  const feed = new PlanFeed();
  feed.add(told(1, null, 0));
  for (let attempt = 1; attempt <= 100; attempt++) feed.add(told(attempt, 3, attempt));
  const batch = feed.from(0);
  t.deepEqual(
    picture(batch?.events ?? []),
    new Map([
      ['plan', '1 0'],
      ['3', '100 100'],
    ]),
  );
  t.is(batch?.events.length, 2);
  t.is(feed.from(feed.end), null);
});
