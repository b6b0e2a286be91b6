/** The words of the model as enums of the .proto spell them: `all-done` is `CONDITION_ALL_DONE` of the prefix `CONDITION`. */
export function enumName(prefix: string, word: string): string {
  return `${prefix}_${word.toUpperCase().replaceAll('-', '_')}`;
}

/** From the names of an enum to words: of `_UNSPECIFIED`, and of numbers that this version does not know, there is none. */
export function enumWords<T extends string>(prefix: string, words: readonly T[]): ReadonlyMap<string, T> {
  return new Map(words.map(word => [enumName(prefix, word), word]));
}

/** `steps[3].dependsOn[0]` of the model as clients of the .proto know it: `steps[3].depends_on[0]`. */
export function wireField(field: string): string {
  return field
    .replaceAll(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)
    .replace(/^(steps\[\d+\])\.(?=(agent|resource|arguments|payload|timeout_seconds|retry)\b)/, '$1.task.');
}
