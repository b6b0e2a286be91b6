import { STREAMS, type OutputFiles } from './output-files.ts';

export interface UnitOutput {
  unit: string;
  files: OutputFiles;
}

/** What a cursor may name: the rest of the agent gives no other names to units. */
const NAMEABLE = /^[A-Za-z0-9._-]+$/;
const RADIX = 36;

/**
 * How much of an instance's output has been given out, over all its copies. As text (a line's cursor) it is
 * `<unit>~<position in stdout>~<position in stderr>` for each copy from which more may come, and for the newest. A copy it
 * does not name was given out whole if it is older than the newest that it names, and not at all if it is newer.
 */
export class OutputPlace {
  private readonly positions = new Map<string, number>();
  private readonly finals = new Map<string, number>();

  given(file: string, position: number): void {
    this.positions.set(file, position);
  }

  /** Nothing is written to the file beyond this any more. */
  final(file: string, position: number): void {
    this.finals.set(file, position);
  }

  at(file: string): number {
    return this.positions.get(file) ?? 0;
  }

  /** null when a unit has a name that a cursor can't hold. */
  text(units: readonly UnitOutput[]): string | null {
    const named = units.filter(({ files }, index) => index === units.length - 1 || !this.isDone(files));
    if (!named.every(({ unit }) => NAMEABLE.test(unit))) return null;
    return named
      .flatMap(({ unit, files }) => [unit, ...STREAMS.map(({ key }) => this.at(files[key]).toString(RADIX))])
      .join('~');
  }

  private isDone(files: OutputFiles): boolean {
    return STREAMS.every(({ key }) => this.finals.get(files[key]) === this.positions.get(files[key]));
  }
}

/**
 * Where each file of the units is taken up again; a file that is not in the answer was given out whole. Text that is no
 * cursor, or one of another node, names no unit here: then everything is still to come.
 */
export function placesAfter(cursor: string, units: readonly UnitOutput[]): Map<string, number> {
  const named = new Map<string, string[]>();
  const parts = cursor.split('~');
  for (let index = 0; index + 2 < parts.length; index += 3) {
    named.set(parts[index] ?? '', parts.slice(index + 1, index + 3));
  }
  const newestNamed = units.findLastIndex(({ unit }) => named.has(unit));
  return new Map(
    units.flatMap(({ unit, files }, index) => {
      const positions = named.get(unit);
      if (positions === undefined && index < newestNamed) return [];
      return STREAMS.map(({ key }, which): [string, number] => [files[key], position(positions?.[which])]);
    }),
  );
}

function position(text = '0'): number {
  const value = parseInt(text, RADIX);
  return Number.isSafeInteger(value) && value >= 0 ? value : 0;
}
