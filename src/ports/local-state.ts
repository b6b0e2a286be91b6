/** Small JSON documents of one node that survive a crash: written whole, atomically, and flushed. */
export interface LocalState {
  /** null when never written or not readable (that is logged). */
  read(name: string): Promise<unknown>;
  write(name: string, value: unknown): Promise<void>;
}
