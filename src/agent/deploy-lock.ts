import type { AppName, NodeName } from '../model/ids.ts';
import type { DeployLockRecord } from '../model/records.ts';
import type { Clock } from '../ports/clock.ts';
import type { Random } from '../ports/random.ts';
import { StoreError, type Compare, type Store } from '../ports/store.ts';
import type { SessionKeeper } from './session-keeper.ts';

const LOOK_AGAIN_MS = 500;

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
    const result = await store.commit(
      [
        { kind: 'deploys', name: app, is: 'absent' },
        { kind: 'sessions', name: `${node}/${session.incarnation}`, lease: session.lease },
      ],
      [{ put: 'deploys', name: app, value: lock, lease: session.lease }],
    );
    if (result.kind === 'committed') return turn(store, app, result.revision);
    const holder = (await store.get('deploys', app))?.value;
    if (holder && holder.holder !== told)
      tell(`waits for ${holder.node}, which deploys it since ${holder.since}`);
    told = holder?.holder ?? told;
    await clock.sleep(LOOK_AGAIN_MS, signal);
  }
}

function turn(store: Store, app: AppName, revision: bigint): Turn {
  const compares: Compare[] = [{ kind: 'deploys', name: app, revision }];
  return {
    compares,
    // What can't be let go of now goes with the session.
    release: async () => {
      await store.commit(compares, [{ delete: 'deploys', name: app }]).catch((error: unknown) => {
        if (!(error instanceof StoreError)) throw error;
      });
    },
  };
}
