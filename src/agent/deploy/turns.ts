import type { AppName } from '../../model/ids.ts';
import type { DeploymentRecord, ReleaseDraft } from '../../model/records.ts';
import { StoreError, type Compare, type Entry, type Store } from '../../ports/store.ts';
import type { StepTask } from '../../ports/step-agents.ts';
import type { SessionKeeper } from '../session-keeper.ts';
import { HopelessDeployment } from './hopeless.ts';

export type TurnSeen =
  /** With what a plan that takes it has to compare. */
  { kind: 'free'; compares: Compare[] } | { kind: 'taken'; by: DeploymentRecord };

/** What a step works from: its deployment's record as it was read. */
export type HeldTurn = Entry<'deploys'>;

export interface TurnsOptions {
  node: string;
  store: Pick<Store, 'get' | 'commit'>;
  keeper: Pick<SessionKeeper, 'current'>;
}

/**
 * One deployment of an app at a time. The turn is a record that names a plan: it is over when the plan is, whatever becomes of the
 * nodes that worked at it, so nobody can keep it. Every write of a deployment compares the record as its step read it.
 */
export class Turns {
  readonly #options: TurnsOptions;
  /** What this node wrote of each app last. */
  readonly #written = new Map<AppName, HeldTurn>();

  constructor(options: TurnsOptions) {
    this.#options = options;
  }

  /** @throws StoreError */
  async look(app: AppName): Promise<TurnSeen> {
    const { store } = this.#options;
    const held = await store.get('deploys', app);
    if (held === null) return { kind: 'free', compares: [{ kind: 'deploys', name: app, is: 'absent' }] };
    const same: Compare = { kind: 'deploys', name: app, revision: held.revision };
    const name = held.value.plan;
    const plan = await store.get('plans', name);
    if (plan === null) return { kind: 'free', compares: [same, { kind: 'plans', name, is: 'absent' }] };
    if (plan.value.settled === null) return { kind: 'taken', by: held.value };
    // Taken up again by hand, it would be written again.
    return { kind: 'free', compares: [same, { kind: 'plans', name, revision: plan.revision }] };
  }

  /** null = it is not this plan's, or not any more. @throws StoreError */
  async held(plan: string, app: AppName): Promise<HeldTurn | null> {
    const entry = await this.#options.store.get('deploys', app);
    return entry?.value.plan === plan ? entry : null;
  }

  /** The same for a step, which works from what its node wrote under its token. @throws Error when its token is old; StoreError */
  async heldFor({ plan, work, token }: StepTask): Promise<HeldTurn | null> {
    const { node } = this.#options;
    const own = this.#written.get(work.resource);
    // Under one token nobody else can have written it since.
    if (own?.value.plan === plan && own.value.token === token) return own;
    const entry = await this.held(plan, work.resource);
    if (entry !== null && BigInt(entry.value.token) > BigInt(token)) {
      throw new Error(`another node goes on with this deployment: ${node} has an old token, ${token}`);
    }
    return entry;
  }

  /** For a step that can't do without. @throws HopelessDeployment, and as `heldFor` */
  async mine(task: StepTask): Promise<HeldTurn> {
    const held = await this.heldFor(task);
    if (held !== null) return held;
    throw new HopelessDeployment(`this deployment of "${task.work.resource}" is over: deploy it again`);
  }

  /** What is written next may end the turn, whether it is heard of or not: from then on it is read afresh. */
  mayEnd(app: AppName): void {
    this.#written.delete(app);
  }

  /** What has to hold for a write of the step. @throws StoreError when the node has no session */
  compares({ name, revision }: HeldTurn): Compare[] {
    const { node, keeper } = this.#options;
    const session = keeper.current();
    if (session === null) throw noSession(node);
    const { incarnation, lease } = session;
    return [
      { kind: 'deploys', name, revision },
      { kind: 'sessions', name: `${node}/${incarnation}`, lease },
    ];
  }

  /** @throws StoreError, also when somebody else has written it meanwhile */
  async write(held: HeldTurn, { token }: StepTask, draft: ReleaseDraft): Promise<void> {
    const value = { ...held.value, token, draft };
    const { name } = held;
    const { store } = this.#options;
    this.#written.delete(name);
    const result = await store.commit(this.compares(held), [{ put: 'deploys', name, value }]);
    if (result.kind === 'refused') throw overtaken(name);
    this.#written.set(name, { ...held, value, revision: result.revision });
  }

  /** From then on nothing that is still on its way can be written. @throws StoreError */
  async letGo(plan: string, app: AppName): Promise<void> {
    const { store } = this.#options;
    const held = await this.held(plan, app);
    if (held === null) return;
    const result = await store.commit(
      [{ kind: 'deploys', name: app, revision: held.revision }],
      [{ delete: 'deploys', name: app }],
    );
    if (result.kind === 'refused') throw overtaken(app);
  }
}

export function noSession(node: string): StoreError {
  const message = `${node} has no session, so it can't deploy anything: ask another node, or later`;
  return new StoreError(message, { outcome: 'refused', retryable: true });
}

function overtaken(app: AppName): StoreError {
  const message = `another node goes on with the deployment of "${app}"`;
  return new StoreError(message, { outcome: 'refused', retryable: true });
}
