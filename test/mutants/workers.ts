import type { Mutant } from './ownership.ts';

const worker = { file: 'src/rpc/worker.ts', test: 'test/rpc/worker.test.ts' };
const feed = { file: 'src/agent/plans/plan-feed.ts', test: 'test/agent/plans/plan-feed.test.ts' };
const watch = { file: 'src/api/routes/plans.ts', test: 'test/api/plan-watch.test.ts' };
const told = { file: 'src/api/stream.ts', test: 'test/api/plan-watch.test.ts' };

/** Each lets a worker on a stream say what nobody may rely on, or lets a watcher miss a change. */
export const workerMutants: Mutant[] = [
  {
    ...worker,
    name: 'workers: a result counts twice',
    search: 'if (assigned === undefined || assigned.told) {',
    replace: 'if (assigned === undefined) {',
  },
  {
    ...worker,
    name: 'workers: a result counts after its time',
    search: 'this.#parts.clock.now() > assigned.deadlineMs',
    replace: 'this.#parts.clock.now() < 0',
  },
  {
    ...worker,
    name: 'workers: what it may still be at takes none of its slots',
    search: 'this.hello.slots - this.#assigned.size - this.#forsaken.size',
    replace: 'this.hello.slots - this.#assigned.size',
  },
  {
    ...worker,
    name: 'workers: one that came back without an attempt is waited for',
    search: "if (!has.has(keyOf(id))) settle(this.#failed('came back without it'));\n      else if",
    replace: 'if',
  },
  {
    ...worker,
    name: 'workers: one that is silent is waited for',
    search: 'this.#failAll(`nothing was heard of ${this.#who} for ${this.#parts.times.silenceMs} ms`);',
    replace: '',
  },
  {
    ...worker,
    name: 'workers: what a new worker is at is let go on',
    search: 'if (!this.#assigned.has(keyOf(id))) this.#forsaken.set(keyOf(id), id);',
    replace: 'void id;',
  },
  {
    ...worker,
    name: 'workers: what was given up while its output was kept counts',
    search: "waitedFor ? 'accepted' : 'stale'",
    replace: "waitedFor || completed ? 'accepted' : 'stale'",
  },
  {
    ...feed,
    name: 'watchers: a stream goes on after what it has not told',
    search: 'if (changed < revision) revision = changed;',
    replace: 'void changed;',
  },
  {
    ...feed,
    name: 'watchers: what changed at the very revision is left out',
    search: '>= revision)?.place',
    replace: '> revision)?.place',
  },
  {
    ...feed,
    name: 'watchers: what has been overtaken is told after what overtook it',
    search: 'if (entry === undefined || !this.#isLatest(entry)) continue;\n      if (events',
    replace: 'if (entry === undefined) continue;\n      if (events',
  },
  {
    ...watch,
    name: 'watch: a stream has a place before all was told',
    search: 'revision > 0n && at === events.length - 1 ? String(revision) : null',
    replace: 'at === events.length - 1 ? String(revision) : null',
  },
  {
    ...watch,
    name: 'watch: each event has the place of the last',
    search: 'revision > 0n && at === events.length - 1 ? String(revision) : null',
    replace: 'revision > 0n ? String(revision) : null',
  },
  {
    ...told,
    name: 'watch: who takes nothing is waited for',
    search: 'const cancel = this.#clock.after(this.#limits.stallMs, this.#stalled);',
    replace: 'const cancel = (): void => undefined;',
  },
];
