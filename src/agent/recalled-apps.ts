import type { AppRecord } from '../model/records.ts';
import type { Change, Entry, Mirror } from '../ports/store.ts';

/** The mirror of the apps, which answers from memory until the store has been heard for the first time. */
export class RecalledApps implements Mirror<'apps'> {
  readonly #mirror: Mirror<'apps'>;
  #recalled = new Map<string, Entry<'apps'>>();

  constructor(mirror: Mirror<'apps'>) {
    this.#mirror = mirror;
  }

  recall(apps: readonly AppRecord[]): void {
    this.#recalled = new Map(
      apps.map(value => [
        value.app,
        { kind: 'apps', name: value.app, value, createRevision: 0n, revision: 0n, lease: null },
      ]),
    );
  }

  /** Whether it speaks from memory now. */
  get fromMemory(): boolean {
    return !this.#mirror.synced && this.#recalled.size > 0;
  }

  get synced(): boolean {
    return this.#mirror.synced;
  }

  get revision(): bigint {
    return this.#mirror.revision;
  }

  get(name: string): Entry<'apps'> | undefined {
    return this.fromMemory ? this.#recalled.get(name) : this.#mirror.get(name);
  }

  all(): Entry<'apps'>[] {
    return this.fromMemory ? [...this.#recalled.values()] : this.#mirror.all();
  }

  onChange(listener: (changes: Change<'apps'>[]) => void): () => void {
    return this.#mirror.onChange(listener);
  }

  staleMs(): number {
    return this.#mirror.staleMs();
  }

  ready(signal?: AbortSignal): Promise<void> {
    return this.#mirror.ready(signal);
  }

  close(): void {
    this.#mirror.close();
  }
}
