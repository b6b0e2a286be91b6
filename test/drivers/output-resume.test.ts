import { appendFileSync, statSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { outputFilesFor, type OutputFiles } from '../../src/drivers/output-files.ts';
import { rotate } from '../../src/drivers/output-pieces.ts';
import { readOutput, type Following } from '../../src/drivers/output-reading.ts';
import { requestJournal } from '../../src/drivers/request-journal.ts';
import type { OutputLine } from '../../src/ports/driver.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { temporaryDirectory } from './helpers.ts';

const never = new AbortController().signal;

/** An instance's output, written to and rotated by hand. */
class Scene {
  readonly directory: string;
  readonly live = new Set<string>();
  /** What was written, by unit and stream. */
  readonly written = new Map<string, string[]>();
  private readonly files = new Map<string, OutputFiles>();
  private readonly listeners = new Set<(file: string) => void>();
  private count = 0;

  constructor(t: ExecutionContext) {
    this.directory = temporaryDirectory(t);
  }

  start(unit: string): void {
    const started = new Date(Date.parse('2026-01-01') + this.files.size).toISOString();
    const files = outputFilesFor(this.directory, unit, started);
    this.files.set(unit, files);
    this.live.add(unit);
    for (const file of [files.out, files.err]) appendFileSync(file, '');
  }

  write(unit: string, key: 'out' | 'err', lines: number): void {
    const texts = Array.from({ length: lines }, () => `${unit} ${key} ${this.count++}`);
    const name = `${unit} ${key === 'out' ? 'stdout' : 'stderr'}`;
    this.written.set(name, [...(this.written.get(name) ?? []), ...texts]);
    appendFileSync(this.files.get(unit)![key], texts.map(text => `${text}\n`).join(''));
  }

  rotate(): void {
    for (const { out, err } of this.files.values()) {
      for (const file of [out, err]) {
        // As if the looks were often enough for nothing to be dropped.
        const limits = { bytes: Math.ceil(statSync(file).size / 2), files: 1000 };
        rotate(file, limits, truncated => this.listeners.forEach(listener => listener(truncated)));
      }
    }
  }

  following(): Following {
    return {
      clock: new FakeClock(),
      isLive: unit => this.live.has(unit),
      onTruncation: listener => {
        this.listeners.add(listener);
        return () => this.listeners.delete(listener);
      },
    };
  }

  /** Follows until so many lines have come, or no more do. `meanwhile` happens in between. */
  async follow(options: { after?: string; lines?: number; most: number; meanwhile?: () => void }) {
    const leaving = new AbortController();
    const taken: OutputLine[] = [];
    let start: string | undefined;
    const reading = readOutput(
      this.directory,
      {
        lines: options.lines ?? 1_000_000,
        follow: true,
        signal: leaving.signal,
        ...(options.after !== undefined && { after: options.after }),
        onStart: cursor => (start = cursor),
      },
      { ...this.following(), clock: leavingWhenIdle(leaving) },
    );
    for await (const line of reading) {
      taken.push(line);
      if (taken.length === 1) options.meanwhile?.();
      if (taken.length >= options.most) break;
    }
    return { taken, cursor: taken.at(-1)?.cursor ?? start ?? options.after };
  }
}

/** Whoever waits for more leaves instead. */
function leavingWhenIdle(leaving: AbortController): FakeClock {
  const clock = new FakeClock();
  clock.sleep = () => {
    leaving.abort();
    return Promise.resolve();
  };
  return clock;
}

const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('write' as const),
      err: fc.boolean(),
      lines: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('rotate' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('replace' as const), overlap: fc.boolean() }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('read' as const),
      most: fc.nat({ max: 6 }),
      rotating: fc.boolean(),
    }),
  },
);

test('however often a reader is cut off, it gets every line once, over rotations and copies', async t => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 30 }), async steps => {
      const scene = new Scene(t);
      let unit = 'u0';
      let units = 1;
      let cursor: string | undefined;
      const seen: OutputLine[] = [];
      const read = async (most: number, meanwhile?: () => void) => {
        const { taken, cursor: next } = await scene.follow({
          most,
          ...(cursor !== undefined && { after: cursor }),
          ...(meanwhile && { meanwhile }),
        });
        cursor = next;
        seen.push(...taken);
      };
      scene.start(unit);
      for (const each of steps) {
        if (each.do === 'write') scene.write(unit, each.err ? 'err' : 'out', each.lines);
        if (each.do === 'rotate') scene.rotate();
        if (each.do === 'replace') {
          if (!each.overlap) scene.live.delete(unit);
          unit = `u${units++}`;
          scene.start(unit);
        }
        if (each.do === 'read' && each.most > 0) {
          await read(each.most, each.rotating ? () => scene.rotate() : undefined);
        }
      }
      await read(1_000_000);
      const got = new Map<string, string[]>();
      for (const { unit: of, stream, text } of seen) {
        got.set(`${of} ${stream}`, [...(got.get(`${of} ${stream}`) ?? []), text]);
      }
      t.deepEqual([...got].sort(), [...scene.written].sort());
    }),
    { numRuns: 150 },
  );
});

test('a reader that has been told no line yet goes on where it began', async t => {
  const scene = new Scene(t);
  scene.start('a');
  scene.write('a', 'out', 3);
  const { taken, cursor } = await scene.follow({ lines: 0, most: 1 });
  t.deepEqual(taken, []);
  scene.write('a', 'err', 1);
  scene.write('a', 'out', 1);
  scene.rotate();
  const rest = await scene.follow({ after: cursor!, most: 10 });
  t.deepEqual(rest.taken.map(({ text }) => text).sort(), ['a err 3', 'a out 4']);
});

test('without following, what came after a cursor is all of it, an unfinished line included', async t => {
  const scene = new Scene(t);
  scene.start('a');
  scene.write('a', 'out', 3);
  const { cursor } = await scene.follow({ most: 2 });
  appendFileSync(outputFilesFor(scene.directory, 'a', '2026-01-01T00:00:00.000Z').err, 'half');
  const texts: string[] = [];
  const options = { lines: 1, follow: false, signal: never, after: cursor! };
  for await (const { text } of readOutput(scene.directory, options, scene.following())) texts.push(text);
  t.deepEqual(texts, ['a out 2', 'half']);
});

test('what was thrown away meanwhile is passed over, and what is left is told', async t => {
  const scene = new Scene(t);
  scene.start('a');
  scene.write('a', 'out', 1);
  const { cursor } = await scene.follow({ most: 1 });
  const { out } = outputFilesFor(scene.directory, 'a', '2026-01-01T00:00:00.000Z');
  for (let round = 0; round < 5; round++) {
    scene.write('a', 'out', 10);
    rotate(out, { bytes: 50, files: 2 }, () => undefined);
  }
  scene.write('a', 'out', 1);
  const { taken } = await scene.follow({ after: cursor!, most: 1000 });
  t.is(taken.at(-1)?.text, 'a out 51');
  t.true(taken.length < 20);
});

for (const cursor of ['', 'nonsense', 'a~zz', 'other~1~1', 'a~-1~x', 'a~zzzzzzzzzz~0']) {
  test(`a cursor that says nothing of what is here ("${cursor}") loses nothing`, async t => {
    const scene = new Scene(t);
    scene.start('a');
    scene.write('a', 'out', 3);
    const { taken } = await scene.follow({ after: cursor, most: 1000 });
    t.is(taken.length, 3);
  });
}

test('requests in memory are resumed by their number, and all told to who followed an agent before', async t => {
  const clock = new FakeClock();
  const journal = requestJournal(clock);
  for (let index = 0; index < 1500; index++) journal.add('u', `GET /${index}`);
  const read = async (of: typeof journal, after?: string) => {
    const lines: OutputLine[] = [];
    const options = { lines: 2, follow: false, signal: never, ...(after !== undefined && { after }) };
    for await (const line of of.read(options)) lines.push(line);
    return lines;
  };
  const newest = await read(journal);
  t.deepEqual(
    newest.map(({ text }) => text),
    ['GET /1498', 'GET /1499'],
  );
  t.deepEqual(
    (await read(journal, newest[0]?.cursor)).map(({ text }) => text),
    ['GET /1499'],
  );
  t.deepEqual(await read(journal, newest[1]?.cursor), []);
  await clock.advance(5);
  const next = requestJournal(clock);
  next.add('u', 'GET /again');
  t.is((await read(next, newest[1]?.cursor)).length, 1);
});
