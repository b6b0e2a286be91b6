/** The known word closest to a mistyped one, or null when none is close enough to be meant. */
export function nearest(word: string, known: readonly string[]): string | null {
  // Longer words than any key cannot be meant; comparing them would cost their length each.
  if (word.length > 64) return null;
  const wanted = plain(word);
  let best: { candidate: string; distance: number } | null = null;
  for (const candidate of known) {
    const distance = editDistance(wanted, plain(candidate));
    if (best === null || distance < best.distance) best = { candidate, distance };
  }
  const allowed = Math.max(1, Math.floor(word.length / 3));
  return best !== null && best.distance <= allowed ? best.candidate : null;
}

/** `did you mean "X"?`, else the list of what is known when it is short enough to read. */
export function suggestion(word: string, known: readonly string[]): string | null {
  const candidate = nearest(word, known);
  if (candidate !== null) return `did you mean "${candidate}"?`;
  return known.length > 0 && known.length <= 20 ? `known here: ${known.join(', ')}` : null;
}

function plain(word: string): string {
  return word.toLowerCase().replaceAll('_', '-');
}

/** Levenshtein, with two neighbouring letters swapped counting as one edit. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(at(last, j) + 1, at(row, j - 1) + 1, at(last, j - 1) + (same ? 0 : 1));
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) cost = Math.min(cost, at(beforeLast, j - 2) + 1);
      row.push(cost);
    }
    beforeLast = last;
    last = row;
  }
  return at(last, b.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Number.POSITIVE_INFINITY;
}
