import type { LocalState } from '../../src/ports/local-state.ts';

/** Documents in memory. Made anew with the same `documents`, it has them all. */
export class FakeLocalState implements LocalState {
  readonly documents: Map<string, string>;

  constructor(documents: Map<string, string> = new Map<string, string>()) {
    this.documents = documents;
  }

  async read(name: string): Promise<unknown> {
    const json = this.documents.get(name);
    return json === undefined ? null : (JSON.parse(json) as unknown);
  }

  async write(name: string, value: unknown): Promise<void> {
    this.documents.set(name, JSON.stringify(value));
  }
}
