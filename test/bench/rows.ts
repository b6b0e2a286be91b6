/** The rows of the bench: a table for who reads, and JSON lines for who compares. */
import { appendFile, mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';

export interface Row {
  what: string;
  samples: number[];
  unit: string;
  /** What the median is a multiple of. */
  floor: Row | null;
  note: string;
}

export class Rows {
  readonly file: string;
  readonly #rows: Row[] = [];

  constructor(file: string) {
    this.file = file;
  }

  async add(
    what: string,
    unit: string,
    samples: number[],
    floor: Row | null = null,
    note = '',
  ): Promise<Row> {
    const made = { what, samples, unit, floor, note };
    this.#rows.push(made);
    const { min, median, max } = summary(samples);
    await this.note({ what, unit, n: samples.length, min, median, max, ratio: ratioOf(made), note, samples });
    process.stderr.write(`bench: ${what}: ${median} ${unit}\n`);
    return made;
  }

  async note(line: object): Promise<void> {
    await mkdir(dirname(this.file), { recursive: true });
    await appendFile(this.file, `${JSON.stringify(line)}\n`);
  }

  table(): string {
    const cells = [
      ['what', 'n', 'min', 'median', 'max', 'unit', '× floor', 'note'],
      ...this.#rows.map(made => {
        const { min, median, max } = summary(made.samples);
        const ratio = ratioOf(made) ?? '';
        return [made.what, made.samples.length, min, median, max, made.unit, ratio, made.note].map(String);
      }),
    ];
    const widths = cells[0]!.map((_, column) => Math.max(...cells.map(line => line[column]!.length)));
    const padded = cells.map(line => line.map((cell, column) => cell.padEnd(widths[column]!)));
    return padded.map(line => line.join('  ').trimEnd()).join('\n');
  }
}

export function summary(samples: number[]): { min: number; median: number; max: number } {
  const sorted = samples.toSorted((a, b) => a - b);
  const round = (value: number | undefined): number => Math.round((value ?? Number.NaN) * 10) / 10;
  return {
    min: round(sorted[0]),
    median: round(sorted[Math.floor(sorted.length / 2)]),
    max: round(sorted.at(-1)),
  };
}

function ratioOf({ samples, floor }: Row): number | null {
  if (floor === null) return null;
  return Math.round((summary(samples).median / summary(floor.samples).median) * 100) / 100;
}
