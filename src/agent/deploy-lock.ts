import type { AppName, NodeName } from '../model/ids.ts';
import type { DeployLockRecord } from '../model/records.ts';
import type { Clock } from '../ports/clock.ts';
import type { Random } from '../ports/random.ts';
import { StoreError, type Compare, type Session, type Store } from '../ports/store.ts';
import type { SessionKeeper } from './session-keeper.ts';

const LOOK_AGAIN_MS = 500;
/** Longer than any request waits for its answer. */
const LATE_WRITE_MS = 30_000;

export interface DeployLockOptions {
  node: NodeName;
  store: Store;
  keeper: Pick<SessionKeeper, 'current'>;
  clock: Clock;
  random: Random;
}

/** One deployment's turn at an app. */
export interface Turn {
  /** What has to hold for a write of it: that the turn is still its own. */
  compares: Compare[];
  release(): Promise<void>;
}

/** A lock, as one deployment of one session took it. */
interface Held {
  app: AppName;
  holder: string;
  incarnation: string;
}

/**
 * One deployment of an app at a time. The lock is a key on the session's lease: whoever holds it and dies lets go of it,
 * and what it writes afterwards is refused. `tell` hears for whom it waits. @throws StoreError, or the signal's reason
 */
export async function takeTurn(
  options: DeployLockOptions,
  app: AppName,
  tell: (message: string) => void,
  signal: AbortSignal,
): Promise<Turn> {
  const { node, store, keeper, clock, random } = options;
  let told = '';
  for (;;) {
    signal.throwIfAborted();
    const session = keeper.current();
    if (!session) {
      throw new StoreError(
        `${node} has no session, so it can't deploy anything: ask another node, or later`,
        {
          outcome: 'refused',
          retryable: true,
        },
      );
    }
    const lock: DeployLockRecord = { v: 1, app, node, holder: random.hex(6), since: clock.timestamp() };
    const held: Held = { app, holder: lock.holder, incarnation: session.incarnation };
    const revision = await taken(store, lock, session).catch((error: unknown) => {
      // It may be there all the same, and would stay for as long as this node lives.
      void letGoLater(options, held, LATE_WRITE_MS);
      throw error;
    });
    if (revision !== null)
      return { compares: [{ kind: 'deploys', name: app, revision }], release: () => letGo(options, held) };
    const holder = (await store.get('deploys', app))?.value;
    if (holder && holder.holder !== told)
      tell(`waits for ${holder.node}, which deploys it since ${holder.since}`);
    told = holder?.holder ?? told;
    await clock.sleep(LOOK_AGAIN_MS, signal);
  }
}

/** The lock's revision; null = somebody has it. @throws StoreError, after which it may be there or not */
async function taken(
  store: Store,
  lock: DeployLockRecord,
  { incarnation, lease }: Session,
): Promise<bigint | null> {
  const result = await store.commit(
    [
      { kind: 'deploys', name: lock.app, is: 'absent' },
      { kind: 'sessions', name: `${lock.node}/${incarnation}`, lease },
    ],
    [{ put: 'deploys', name: lock.app, value: lock, lease }],
  );
  return result.kind === 'committed' ? result.revision : null;
}

/** Once; later, again and again, what could not be done at once. With the session it goes by itself. */
async function letGo(options: DeployLockOptions, held: Held): Promise<void> {
  if (!(await isGone(options, held))) void letGoLater(options, held, 0);
}

/** A write whose reply was lost may still be on its way for so long. */
async function letGoLater(options: DeployLockOptions, held: Held, mayComeMs: number): Promise<void> {
  const { keeper, clock } = options;
  const lastMs = clock.now() + mayComeMs;
  while (keeper.current()?.incarnation === held.incarnation) {
    const gone = await isGone(options, held);
    if (gone && clock.now() >= lastMs) return;
    await clock.sleep(LOOK_AGAIN_MS);
  }
}

async function isGone({ store }: DeployLockOptions, { app, holder }: Held): Promise<boolean> {
  try {
    const entry = await store.get('deploys', app);
    if (entry?.value.holder !== holder) return true;
    await store.commit(
      [{ kind: 'deploys', name: app, revision: entry.revision }],
      [{ delete: 'deploys', name: app }],
    );
    return true;
  } catch (error) {
    if (error instanceof StoreError) return false;
    throw error;
  }
}
