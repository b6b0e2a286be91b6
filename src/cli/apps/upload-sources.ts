import { createReadStream } from 'node:fs';
import { packDirectory } from '../../artifacts/pack.ts';
import type { Packed } from '../../artifacts/pack.ts';
import type { AppSpec } from '../../model/app-spec.ts';
import type { CommandContext } from '../context.ts';
import { bytesText } from '../words.ts';
import type { LoadedApp } from './load-apps.ts';

/**
 * The specs as the agents take them: each source tree of this machine packed, uploaded and named by its digest. What may be
 * refused is refused by `accept` before anything is uploaded.
 */
export async function uploadSources(
  context: CommandContext,
  apps: LoadedApp[],
  accept: (specs: AppSpec[]) => Promise<void>,
): Promise<AppSpec[]> {
  return withPacked(context, apps, async packed => {
    await accept(packed.map(({ spec }) => spec));
    // One after the other: the messages stay in order.
    for (const { app, tree } of packed) if (tree !== null) await upload(context, app, tree);
    return packed.map(({ spec }) => spec);
  });
}

/** The same without uploading anything: enough to compare with what runs. */
export function digestSources(context: CommandContext, apps: LoadedApp[]): Promise<AppSpec[]> {
  return withPacked(context, apps, packed => Promise.resolve(packed.map(({ spec }) => spec)));
}

interface PackedApp {
  app: LoadedApp;
  /** null = its source is elsewhere, or there is none. */
  tree: Packed | null;
  spec: AppSpec;
}

async function withPacked<T>(
  { io }: CommandContext,
  apps: LoadedApp[],
  use: (packed: PackedApp[]) => Promise<T>,
): Promise<T> {
  const packed: PackedApp[] = [];
  try {
    // A machine packs one tree as fast as two.
    for (const app of apps) packed.push(await packedApp(app, io.signal));
    return await use(packed);
  } finally {
    for (const { tree } of packed) await tree?.remove();
  }
}

async function packedApp(app: LoadedApp, signal: AbortSignal): Promise<PackedApp> {
  const { spec, directory } = app;
  if (directory === null) return { app, spec, tree: null };
  const tree = await packDirectory(directory, { ignore: spec.build.ignore, signal });
  return { app, tree, spec: { ...spec, source: { kind: 'uploaded', digest: tree.digest } } };
}

async function upload(
  context: CommandContext,
  { spec, directory }: LoadedApp,
  packed: Packed,
): Promise<void> {
  const { api, io, out } = context;
  const client = await api();
  const [node, held] = await Promise.all([client.node(io.signal), client.artifacts(io.signal)]);
  const size = bytesText(packed.bytes);
  if (held.items.some(({ node: holder, digest }) => holder === node.name && digest === packed.digest)) {
    out.note(`${spec.app}: ${node.name} has the source already (${size})`);
    return;
  }
  out.note(`${spec.app}: uploading ${directory ?? ''} (${size}) to ${node.name}`);
  await client.uploadArtifact(
    counted(createReadStream(packed.filePath), packed.bytes, share => {
      out.note(`${spec.app}: ${share}% of ${size} uploaded`);
    }),
    { digest: packed.digest, bytes: packed.bytes },
    io.signal,
  );
}

const WORTH_TELLING_BYTES = 8 * 1024 * 1024;

/** Tells each quarter of a large upload. */
async function* counted(
  chunks: AsyncIterable<Uint8Array>,
  totalBytes: number,
  tell: (share: number) => void,
): AsyncGenerator<Uint8Array> {
  let sentBytes = 0;
  let told = 0;
  for await (const chunk of chunks) {
    yield chunk;
    sentBytes += chunk.length;
    const quarter = Math.floor((4 * sentBytes) / totalBytes) * 25;
    if (totalBytes >= WORTH_TELLING_BYTES && quarter > told && quarter < 100) {
      told = quarter;
      tell(quarter);
    }
  }
}
