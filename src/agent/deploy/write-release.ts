import type { AppSpec } from '../../model/app-spec.ts';
import type { AppName, Digest } from '../../model/ids.ts';
import type { AppRecord, ArtifactRef } from '../../model/records.ts';
import { AdminError } from '../../ports/admin.ts';
import type { Clock } from '../../ports/clock.ts';
import { hostnameWrites, rolloutFrom } from './change-release.ts';
import { StoreError, type Compare, type Entry, type Store, type Write } from '../../ports/store.ts';

/** Everything of a release but its place in the store. */
export interface Made {
  spec: AppSpec;
  release: number;
  artifact: ArtifactRef;
  source: Digest | undefined;
  secrets: Record<string, string>;
  /** The plan that makes it. */
  deployment: string;
}

/**
 * Makes a release what the cluster wants, in one transaction over the app as it was read, the release and its host names.
 * @throws StoreError; AdminError when a host name is another app's
 */
export async function writeRelease(
  { store, clock }: { store: Store; clock: Clock },
  { spec, release, artifact, source, secrets, deployment }: Made,
  current: Entry<'apps'> | null,
  along: { compares: Compare[]; writes: Write[] },
): Promise<AppRecord> {
  const at = clock.timestamp();
  const record: AppRecord = {
    v: 1,
    app: spec.app,
    release,
    generation: (current?.value.generation ?? 0) + 1,
    spec,
    artifact,
    ...(source === undefined ? {} : { source }),
    restarts: current?.value.release === release ? current.value.restarts : {},
    secrets,
    deployment,
    removing: false,
    appliedAt: at,
  };
  const there = current?.value.removing === false ? current.value : null;
  const rollout = there && (there.release === release ? there.rollout : rolloutFrom(there, record));
  if (rollout) record.rollout = rollout;
  if (!there || there.unproven) record.unproven = true;
  const compares: Compare[] = [
    ...along.compares,
    current
      ? { kind: 'apps', name: spec.app, revision: current.revision }
      : { kind: 'apps', name: spec.app, is: 'absent' },
  ];
  const writes: Write[] = [...along.writes, { put: 'apps', name: spec.app, value: record }];
  if (current?.value.release !== release) {
    const name = releaseName(spec.app, release);
    compares.push({ kind: 'releases', name, is: 'absent' });
    writes.push({
      put: 'releases',
      name,
      value: {
        v: 1,
        app: spec.app,
        release,
        spec,
        artifact,
        ...(source === undefined ? {} : { source }),
        ...(there ? { replaces: rollout?.before.release ?? there.release } : {}),
        deployment,
        at,
      },
    });
  }
  for (const hostname of spec.hostnames) {
    const holder = await store.get('hostnames', hostname);
    compares.push(
      holder
        ? { kind: 'hostnames', name: hostname, revision: holder.revision }
        : { kind: 'hostnames', name: hostname, is: 'absent' },
    );
    if (holder && holder.value.app !== spec.app)
      throw new AdminError('conflict', `host name "${hostname}" is held by app "${holder.value.app}"`);
    if (!holder) writes.push({ put: 'hostnames', name: hostname, value: { v: 1, app: spec.app } });
  }
  if (current) writes.push(...hostnameWrites(current.value, record));
  const result = await store.commit(compares, writes);
  if (result.kind === 'refused') {
    throw new StoreError(
      `"${spec.app}", or a host name of it, was changed by somebody else meanwhile: nothing was changed; try again`,
      {
        outcome: 'refused',
        retryable: true,
      },
    );
  }
  return record;
}

/** Never one that was used before. @throws StoreError */
export async function nextRelease(store: Pick<Store, 'list'>, app: AppName): Promise<number> {
  const { entries } = await store.list('releases', { prefix: `${app}/` });
  return (entries.at(-1)?.value.release ?? 0) + 1;
}

function releaseName(app: AppName, release: number): string {
  return `${app}/${String(release).padStart(6, '0')}`;
}
