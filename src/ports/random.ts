export interface Random {
  /** Uniform in [0, 1). */
  float(): number;
  /** Lower-case hexadecimal, `bytes` × 2 characters, from the system's secure source. */
  hex(bytes: number): string;
  /** A v4 UUID. */
  uuid(): string;
}
