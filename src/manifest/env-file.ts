import type { Problem } from '../model/problem.ts';
import { tooLarge } from './size.ts';
import { shown } from './tree.ts';
import { badHostnamesIn, envNamePattern, envNameRule, hostnamesHint } from './words.ts';

const longestValue = 64 * 1024;
/** Words that `env` of a manifest uses itself. */
const reserved = ['computed', '_policy', '__proto__'];

/**
 * An ENV file as Hop3 reads it: one `KEY=value` a line, cut at the first `=`, `#` only at the start of a line, `$NAME`
 * and `${NAME}` taking earlier values or staying as they are. Quotes belong to the value. Never throws.
 */
export function readEnvFile(
  file: string,
  text: string,
): { values: Map<string, string>; problems: Problem[] } {
  const large = tooLarge(file, text);
  const values = new Map<string, string>();
  const problems: Problem[] = [...large];
  const lines = large.length > 0 ? [] : text.replace(/^\uFEFF/, '').split(/\r\n|\r|\n/);
  for (const [index, raw] of lines.entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const refuse = (field: string, message: string, hint: string) =>
      problems.push({ file, line: index + 1, column: 1, field, message, hint });
    const equals = line.indexOf('=');
    if (equals < 0) {
      refuse('', 'has no "="', 'one KEY=value a line');
      continue;
    }
    const name = line.slice(0, equals).trim();
    if (!envNamePattern.test(name)) refuse(name, `${shown(name)} is not a variable name`, envNameRule);
    else if (name === 'HOST_NAME' && badHostnamesIn(line.slice(equals + 1)).length > 0) {
      refuse(name, `${shown(badHostnamesIn(line.slice(equals + 1))[0])} is not a host name`, hostnamesHint);
    } else if (reserved.includes(name))
      refuse(name, 'is a word of the manifest itself', 'choose another name');
    else {
      const value = expand(line.slice(equals + 1).trim(), values);
      if (value === null) refuse(name, 'is longer than 64 KiB', 'keep data in a file');
      else values.set(name, value);
    }
  }
  return { values, problems };
}

/** null when the value would grow beyond measure: values that repeat earlier ones multiply. */
function expand(text: string, values: ReadonlyMap<string, string>): string | null {
  const parts: string[] = [];
  let end = 0;
  let length = text.length;
  for (const match of text.matchAll(/\$(?:(\w+)|\{([^}]*)\})/g)) {
    const value = values.get(match[1] ?? match[2] ?? '') ?? match[0];
    length += value.length;
    if (length > longestValue) return null;
    parts.push(text.slice(end, match.index), value);
    end = match.index + match[0].length;
  }
  return parts.join('') + text.slice(end);
}
