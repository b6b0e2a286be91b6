import Table from 'cli-table3';

const borderless = Object.fromEntries(
  [
    ['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right'],
    ['left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid', 'middle'],
  ]
    .flat()
    .map(name => [name, '']),
);

/** Columns under their headings, three spaces apart, no lines. Cells may be coloured and may hold wide characters. */
export function tableText(headings: string[], rows: string[][]): string {
  const table = new Table({
    head: headings,
    chars: borderless,
    style: { head: [], border: [], compact: true, 'padding-left': 0, 'padding-right': 3 },
  });
  table.push(...rows.map(row => row.map(cell => cell.replaceAll('\n', ' '))));
  return table
    .toString()
    .split('\n')
    .map(line => line.trimEnd() + '\n')
    .join('');
}
