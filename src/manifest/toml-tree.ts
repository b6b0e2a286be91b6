import { getStaticTOMLValue, ParseError, parseTOML, type AST } from 'toml-eslint-parser';
import type { Problem } from '../model/problem.ts';
import { deepest, tooDeep, tooLarge, whole } from './size.ts';
import { fieldOf, type Path, type Place, type Tree } from './tree.ts';

interface Entry {
  key: Place;
  value: Place;
  text: string | null;
}

/** The one document of a TOML text, or the problem with it (the parser stops at the first). Never throws. */
export function readToml(file: string, text: string): { tree: Tree | null; problems: Problem[] } {
  const large = tooLarge(file, text);
  if (large.length > 0) return { tree: null, problems: large };
  if (isDeep(text)) return { tree: null, problems: [tooDeep(file)] };
  try {
    const program = parseTOML(text);
    const entries = entriesOf(program, text);
    const forbidden = [...entries].find(([field]) => field.split('.').includes('__proto__'));
    if (forbidden !== undefined) {
      const [field, { key }] = forbidden;
      return {
        tree: null,
        problems: [{ file, ...key, field, message: 'cannot be used as a key', hint: null }],
      };
    }
    return { tree: treeOf(getStaticTOMLValue(program), entries), problems: [] };
  } catch (error) {
    if (error instanceof ParseError) {
      const message = `is not valid TOML: ${error.message.charAt(0).toLowerCase()}${error.message.slice(1)}`;
      const place = { line: error.lineNumber, column: error.column + 1 };
      return { tree: null, problems: [{ file, ...place, field: '', message, hint: null }] };
    }
    const message = `cannot be read as TOML: ${error instanceof Error ? error.message : String(error)}`;
    return { tree: null, problems: [whole(file, message, null)] };
  }
}

function treeOf(data: unknown, entries: ReadonlyMap<string, Entry>): Tree {
  const start = { line: 1, column: 1 };
  return {
    data,
    start,
    placeOf: (path, part) => {
      for (let length = path.length; length > 0; length--) {
        const entry = entries.get(fieldOf(path.slice(0, length)));
        if (entry !== undefined) return part === 'key' && length === path.length ? entry.key : entry.value;
      }
      return start;
    },
    textOf: path => entries.get(fieldOf(path))?.text ?? null,
  };
}

function entriesOf(program: AST.TOMLProgram, text: string): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  const [top] = program.body;
  for (const node of top.body) {
    if (node.type === 'TOMLTable') {
      addKeys(entries, [], node.key, startOf(node));
      entries.set(fieldOf(node.resolvedKey), { key: startOf(node.key), value: startOf(node), text: null });
      for (const pair of node.body) addPair(entries, node.resolvedKey, pair, text);
    } else {
      addPair(entries, [], node, text);
    }
  }
  return entries;
}

function addPair(entries: Map<string, Entry>, base: Path, pair: AST.TOMLKeyValue, text: string): void {
  const path = addKeys(entries, base, pair.key, startOf(pair.value));
  addValue(entries, path, startOf(pair.key.keys.at(-1) ?? pair.key), pair.value, text);
}

/** The tables that a dotted key opens on its way stand where it does. */
function addKeys(entries: Map<string, Entry>, base: Path, key: AST.TOMLKey, value: Place): Path {
  let path = base;
  for (const part of key.keys) {
    path = [...path, part.type === 'TOMLBare' ? part.name : part.value];
    const field = fieldOf(path);
    if (!entries.has(field)) entries.set(field, { key: startOf(part), value, text: null });
  }
  return path;
}

function addValue(
  entries: Map<string, Entry>,
  path: Path,
  key: Place,
  value: AST.TOMLContentNode,
  text: string,
): void {
  const written = value.type === 'TOMLValue' ? text.slice(...value.range) : '';
  // Other notations (1_000, 0xff) mean their number, as they do to Hop3.
  const plain = /^([-+]?\d+(\.\d+)?|true|false)$/.test(written);
  entries.set(fieldOf(path), { key, value: startOf(value), text: plain ? written : null });
  if (value.type === 'TOMLArray') {
    value.elements.forEach((element, i) => addValue(entries, [...path, i], startOf(element), element, text));
  }
  if (value.type === 'TOMLInlineTable') {
    for (const pair of value.body) addPair(entries, path, pair, text);
  }
}

function startOf(node: { loc: { start: { line: number; column: number } } }): Place {
  return { line: node.loc.start.line, column: node.loc.start.column + 1 };
}

/** Bracket depth outside strings and comments, and the parts of dotted keys: what the parser would recurse into. */
function isDeep(text: string): boolean {
  const skipped = /"""[\s\S]*?(?:"""|$)|'''[\s\S]*?(?:'''|$)|"(?:\\.|[^"\\\n])*"?|'[^'\n]*'?|#[^\n]*/g;
  let depth = 0;
  const bare = text.replace(skipped, ' ');
  for (const character of bare) {
    if (character === '[' || character === '{') depth++;
    else if (character === ']' || character === '}') depth--;
    if (depth > deepest) return true;
  }
  return bare.split(/[=,{}[\]\n]/).some(part => part.split('.').length > deepest);
}
