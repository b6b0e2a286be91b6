import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { watchGroup } from '../../src/drivers/systemd-groups.ts';
import { temporaryDirectory } from './helpers.ts';

const GROUP = '/hop3.slice/blog-web-0-a.service';

/** Two places where groups may be, and the group's file in the second. */
function mountsWithGroup(t: ExecutionContext) {
  const mounts = ['systemd', 'unified'].map(name => join(temporaryDirectory(t), name));
  const file = join(mounts[1]!, GROUP, 'cgroup.events');
  mkdirSync(join(mounts[1]!, GROUP), { recursive: true });
  writeFileSync(file, 'populated 1\n');
  return { mounts, file };
}

test('who watches a group is told of its end, wherever it is mounted', async t => {
  const { mounts, file } = mountsWithGroup(t);
  const told = new EventTarget();
  const over = new AbortController();
  t.teardown(() => over.abort());
  // The watch alone keeps no program running.
  const running = setInterval(() => undefined, 1000);
  t.teardown(() => clearInterval(running));
  const end = once(told, 'change');
  watchGroup(GROUP, () => told.dispatchEvent(new Event('change')), over.signal, mounts);
  writeFileSync(file, 'populated 0\n');
  await t.notThrowsAsync(end);
});

test('to watch a group that has gone already is no error: its process may have ended as soon as it had begun', t => {
  const { mounts } = mountsWithGroup(t);
  t.notThrows(() => watchGroup('/gone.service', () => t.fail(), new AbortController().signal, mounts));
});
