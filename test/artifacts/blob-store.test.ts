import { rmSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { BlobStore, digestOf } from '../../src/artifacts/blob-store.ts';
import { realClock, streamOf, temporaryDirectory } from './helpers.ts';

test('a blob that is removed while it is read is not here', async t => {
  const stateDir = await temporaryDirectory(t);
  const blobs = new BlobStore(stateDir, realClock);
  const bytes = Buffer.from('some text');
  const digest = digestOf(bytes);
  await blobs.receive(streamOf(bytes), digest);
  t.deepEqual(await blobs.read(digest), bytes);
  const reading = blobs.read(digest);
  rmSync(join(stateDir, 'blobs', digest.slice('sha256:'.length)));
  t.is(await reading, null);
});
