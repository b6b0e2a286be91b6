import { createReadStream } from 'node:fs';
import { packDirectory } from '../../artifacts/pack.ts';
import type { Packed } from '../../artifacts/pack.ts';
import type { AppSpec } from '../../model/app-spec.ts';
import type { CommandContext } from '../context.ts';
import { bytesText } from '../words.ts';
import type { LoadedApp } from './load-apps.ts';

/** The specs as the agents take them: each source tree of this machine packed, uploaded and named by its digest. */
export async function uploadSources(context: CommandContext, apps: LoadedApp[]): Promise<AppSpec[]> {
  const specs: AppSpec[] = [];
  // One after the other: a machine packs one tree as fast as two, and the messages stay in order.
  for (const app of apps) {
    specs.push(await withPacked(context, app, packed => upload(context, app, packed)));
  }
  return specs;
}

/** The same without uploading anything: enough to compare with what runs. */
export async function digestSources(context: CommandContext, apps: LoadedApp[]): Promise<AppSpec[]> {
  const specs: AppSpec[] = [];
  for (const app of apps) specs.push(await withPacked(context, app, () => Promise.resolve()));
  return specs;
}

async function withPacked(
  { io }: CommandContext,
  { spec, directory }: LoadedApp,
  use: (packed: Packed) => Promise<void>,
): Promise<AppSpec> {
  if (directory === null) return spec;
  const packed = await packDirectory(directory, { ignore: spec.build.ignore, signal: io.signal });
  try {
    await use(packed);
  } finally {
    await packed.remove();
  }
  return { ...spec, source: { kind: 'uploaded', digest: packed.digest } };
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
