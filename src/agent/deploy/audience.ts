import type { DeployProgress } from '../../model/views.ts';

type Hear = (progress: DeployProgress) => void;

/** Who listens on this node to what is done here of deployments, by plan. What nobody listens to is lost. */
export class Audience {
  readonly #listeners = new Map<string, Hear>();

  /** Returns how to stop. */
  listen(plan: string, hear: Hear): () => void {
    this.#listeners.set(plan, hear);
    return () => this.#listeners.delete(plan);
  }

  tell(plan: string, progress: DeployProgress): void {
    this.#listeners.get(plan)?.(progress);
  }
}
