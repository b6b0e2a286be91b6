/** What was typed for one command, already checked against its definition in `surface.ts`. */
export class Invocation {
  private readonly words: readonly string[];
  private readonly options: Readonly<Record<string, unknown>>;

  /** `options` is keyed in camelCase, as commander gives it. */
  constructor(words: readonly string[], options: Readonly<Record<string, unknown>>) {
    this.words = words;
    this.options = options;
  }

  /** A required argument, by position. */
  argument(index: number): string {
    const word = this.words[index];
    if (word === undefined) throw new RangeError(`the command's definition has no argument ${index}`);
    return word;
  }

  optionalArgument(index: number): string | null {
    return this.words[index] ?? null;
  }

  /** A variadic argument: all words from this position on. */
  argumentsFrom(index: number): string[] {
    return this.words.slice(index);
  }

  flag(name: string): boolean {
    return this.options[name] === true;
  }

  text(name: string): string | null {
    const value = this.options[name];
    return typeof value === 'string' ? value : null;
  }

  number(name: string): number | null {
    const value = this.options[name];
    return typeof value === 'number' ? value : null;
  }

  list(name: string): string[] {
    const value = this.options[name];
    return Array.isArray(value) ? value.map(String) : [];
  }

  /** `KEY=VALUE` options, each key once: a later one wins. */
  pairs(name: string): Record<string, string> {
    return Object.fromEntries(this.list(name).map(splitPair));
  }
}

/** At the first `=`: values may hold more of them. */
export function splitPair(text: string): [string, string] {
  const at = text.indexOf('=');
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}
