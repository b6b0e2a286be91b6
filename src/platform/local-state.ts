import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { link, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';

import type { LocalState } from '../ports/local-state.ts';
import type { Log } from '../ports/log.ts';

/** What a file holds: the value's JSON as text, so that the checksum is over exactly what was written. */
interface Envelope {
  v: 1;
  sha256: string;
  json: string;
}

type Reading =
  { kind: 'good'; value: unknown } | { kind: 'absent' } | { kind: 'damaged'; file: string; why: string };

/**
 * Documents as `<stateDir>/state/<name>.json`, readable by this user only. The generation before is kept as
 * `<name>.previous.json` and used, with a warning, when the newest is damaged. Writes of one name are done in order.
 */
export function fileState(options: { stateDir: string; log: Log }): LocalState {
  const directory = join(options.stateDir, 'state');
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const lastWrites = new Map<string, Promise<void>>();

  return {
    async read(name) {
      const files = filesOf(directory, name);
      await lastWrites.get(name)?.catch(() => undefined);
      const newest = await readEnvelope(files.newest);
      if (newest.kind === 'good') return newest.value;
      const previous = await readEnvelope(files.previous);
      if (newest.kind === 'absent' && previous.kind === 'absent') return null;
      if (previous.kind === 'good') {
        options.log.warn('newest local state is unusable, using the generation before', {
          name,
          file: files.newest,
          why: newest.kind === 'damaged' ? newest.why : 'it is missing',
        });
        return previous.value;
      }
      const damaged = [newest, previous].filter(reading => reading.kind === 'damaged');
      options.log.error('local state is lost: no generation of it can be read', { name, damaged });
      return null;
    },

    write(name, value) {
      const files = filesOf(directory, name);
      const json = JSON.stringify(value);
      // One writer's failure is that writer's: the next one starts afresh.
      const before = (lastWrites.get(name) ?? Promise.resolve()).catch(() => undefined);
      const done = before.then(() => replace(directory, files, json));
      lastWrites.set(name, done);
      return done;
    },
  };
}

interface Files {
  newest: string;
  previous: string;
}

function filesOf(directory: string, name: string): Files {
  if (!/^[a-z0-9][a-z0-9-]*$/.test(name)) {
    throw new RangeError(`"${name}" can't name local state: use lower-case letters, digits and hyphens`);
  }
  return { newest: join(directory, `${name}.json`), previous: join(directory, `${name}.previous.json`) };
}

async function readEnvelope(file: string): Promise<Reading> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { kind: 'absent' };
    return { kind: 'damaged', file, why: (error as Error).message };
  }
  try {
    const envelope = JSON.parse(text) as Partial<Envelope> | null;
    if (typeof envelope?.json !== 'string' || envelope.sha256 !== checksum(envelope.json)) {
      return { kind: 'damaged', file, why: 'its checksum does not match' };
    }
    return { kind: 'good', value: JSON.parse(envelope.json) as unknown };
  } catch (error) {
    return { kind: 'damaged', file, why: (error as Error).message };
  }
}

async function replace(directory: string, files: Files, json: string): Promise<void> {
  const envelope: Envelope = { v: 1, sha256: checksum(json), json };
  const fresh = `${files.newest}.tmp`;
  await writeFlushed(fresh, `${JSON.stringify(envelope)}\n`);
  // A damaged file must not push out the good generation before it.
  if ((await readEnvelope(files.newest)).kind === 'good') {
    const spare = `${files.previous}.tmp`;
    await rm(spare, { force: true });
    await link(files.newest, spare);
    await rename(spare, files.previous);
  }
  await rename(fresh, files.newest);
  await flushDirectory(directory);
}

async function writeFlushed(file: string, text: string): Promise<void> {
  const handle = await open(file, 'w', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function flushDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function checksum(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
