import {
  Composer,
  isAlias,
  isCollection,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  Parser,
  type CST,
  type Document,
  type Node,
  type Pair,
} from 'yaml';
import type { Problem } from '../model/problem.ts';
import { deepest, tooDeep, tooLarge } from './size.ts';
import { fieldOf, type Path, type Place, type Tree } from './tree.ts';

type Map = Node & { items: Pair[] };

/** How often what an alias repeats may be written out; a bomb multiplies, a person does not. */
const mostAliases = 1000;

/**
 * Every non-empty document of a YAML text, and every problem with the text itself. A document with a problem of its
 * own is left out, the others are read all the same. Never throws.
 */
export function readYaml(
  file: string,
  text: string,
  largestBytes?: number,
): { trees: Tree[]; problems: Problem[] } {
  const large = tooLarge(file, text, largestBytes);
  if (large.length > 0) return { trees: [], problems: large };
  const lines = new LineCounter();
  const tokens = [...new Parser(lines.addNewLine).parse(text)];
  // Composing recurses, parsing into tokens does not: depth is checked between the two.
  const deep = firstDeep(tokens);
  if (deep !== null) return { trees: [], problems: [{ ...tooDeep(file), ...placeIn(lines, deep.offset) }] };
  const composer = new Composer({
    uniqueKeys: false,
    prettyErrors: false,
    merge: true,
    resolveKnownTags: false,
    logLevel: 'silent',
  });
  const documents = [...composer.compose(tokens)];
  const read = documents.map(document => documentTree(file, document, lines));
  return {
    trees: read.flatMap(({ tree }) => tree ?? []),
    problems: read.flatMap(({ problems }) => problems),
  };
}

function documentTree(
  file: string,
  document: Document.Parsed,
  lines: LineCounter,
): { tree: Tree | null; problems: Problem[] } {
  const place = (offset: number): Place => placeIn(lines, offset);
  const problem = (offset: number, field: string, message: string, hint: string | null): Problem => ({
    file,
    ...place(offset),
    field,
    message,
    hint,
  });
  const problems = [...document.errors, ...document.warnings].map(error =>
    problem(error.pos[0], '', syntaxMessage(error.message), syntaxHint(error.code)),
  );
  if (problems.length > 0 || isEmpty(document.contents)) return { tree: null, problems };
  checkKeys(document.contents, [], (key, path, message, hint) =>
    problems.push(problem(startOf(key) ?? 0, fieldOf(path), message, hint)),
  );
  const data = plainData(document);
  if (data.kind === 'refused')
    problems.push(problem(startOf(document.contents) ?? 0, '', data.message, data.hint));
  if (data.kind === 'refused' || problems.length > 0) return { tree: null, problems };
  return { tree: treeOf(document, data.value, place), problems };
}

function placeIn(lines: LineCounter, offset: number): Place {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(1, line), column: Math.max(1, col) };
}

/** Nothing between two marks, or after the last; a null that somebody wrote is a value. */
function isEmpty(contents: unknown): boolean {
  return contents === null || (isScalar(contents) && contents.source === '');
}

function treeOf(document: Document.Parsed, data: unknown, place: (offset: number) => Place): Tree {
  return {
    data,
    start: place(startOf(document.contents) ?? 0),
    placeOf: (path, part) => place(find(document, path, part).offset),
    textOf: path => {
      const { node } = find(document, path, 'value');
      return isScalar(node) && typeof node.source === 'string' ? node.source : null;
    },
  };
}

/** The node at a path, and the offset of its key or value, or of its nearest ancestor's. */
function find(
  document: Document.Parsed,
  path: Path,
  part: 'key' | 'value',
): { node: unknown; offset: number } {
  let node: unknown = document.contents;
  let offset = startOf(node) ?? 0;
  for (const [depth, name] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = pairOf(document, node, String(name));
      if (pair === null) return { node: undefined, offset };
      const wantsKey = part === 'key' && depth === path.length - 1;
      offset = (wantsKey ? null : startOf(pair.value)) ?? startOf(pair.key) ?? offset;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(name)];
      offset = startOf(node) ?? offset;
    } else {
      return { node: undefined, offset };
    }
  }
  return { node: isAlias(node) ? node.resolve(document) : node, offset };
}

const pairsByMap = new WeakMap<object, ReadonlyMap<string, Pair>>();

function pairOf(document: Document.Parsed, map: Map, name: string): Pair | null {
  let pairs = pairsByMap.get(map);
  if (pairs === undefined) {
    pairs = new Map(map.items.map(pair => [keyText(pair.key), pair] as const));
    pairsByMap.set(map, pairs);
  }
  const own = pairs.get(name);
  if (own !== undefined) return own;
  const merged = map.items
    .filter(pair => isMergeKey(pair.key))
    .flatMap(pair => mergedMaps(document, pair.value));
  return merged.map(other => pairOf(document, other, name)).find(pair => pair !== null) ?? null;
}

function mergedMaps(document: Document.Parsed, value: unknown): Map[] {
  const node = isAlias(value) ? value.resolve(document) : value;
  if (isMap(node)) return [node];
  return isSeq(node) ? node.items.flatMap(item => mergedMaps(document, item)) : [];
}

function plainData(
  document: Document.Parsed,
): { kind: 'read'; value: unknown } | { kind: 'refused'; message: string; hint: string | null } {
  try {
    return { kind: 'read', value: document.toJS({ maxAliasCount: mostAliases }) as unknown };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (message.startsWith('Excessive alias count')) {
      return {
        kind: 'refused',
        message: 'its aliases multiply beyond measure',
        hint: 'write out what they repeat',
      };
    }
    return { kind: 'refused', message: syntaxMessage(message), hint: null };
  }
}

type Report = (key: unknown, path: Path, message: string, hint: string | null) => void;

/** The library's own check of doubled keys takes quadratic time; this one also refuses keys that are not text. */
function checkKeys(node: unknown, path: Path, report: Report): void {
  if (!isCollection(node)) return;
  if (!isMap(node)) {
    node.items.forEach((item, index) => checkKeys(item, [...path, index], report));
    return;
  }
  const seen = new Set<string>();
  for (const pair of node.items) {
    const name = keyText(pair.key);
    const here = [...path, name];
    if (!isMergeKey(pair.key)) {
      if (!isScalar(pair.key) || typeof pair.key.value !== 'string') {
        report(pair.key ?? node, here, 'is a key that is not text', `put it in quotes: "${name}"`);
      } else if (name === '__proto__') {
        report(pair.key, here, 'cannot be used as a key', null);
      } else if (seen.has(name)) {
        report(pair.key, here, 'is given twice', 'keep one of the two');
      }
      seen.add(name);
    }
    checkKeys(pair.value, here, report);
  }
}

function isMergeKey(key: unknown): boolean {
  return isScalar(key) && (key.value === '<<' || typeof key.value === 'symbol');
}

function keyText(key: unknown): string {
  if (isScalar(key)) return String(key.value);
  return isNode(key) ? 'a collection' : String(key);
}

function startOf(node: unknown): number | null {
  return isNode(node) && node.range ? node.range[0] : null;
}

function syntaxMessage(message: string): string {
  const first = message.split('\n')[0] ?? message;
  return `is not valid YAML: ${first.charAt(0).toLowerCase()}${first.slice(1)}`;
}

function syntaxHint(code: string): string | null {
  if (code === 'TAB_AS_INDENT') return 'indent with spaces';
  if (code === 'TAG_RESOLVE_FAILED') return 'plain values need no tag';
  if (code === 'MULTILINE_IMPLICIT_KEY' || code === 'BLOCK_AS_IMPLICIT_KEY')
    return 'put text with ": " in it in quotes';
  return null;
}

/** Without recursion: what is looked for here is what recursion would not survive. */
function firstDeep(tokens: readonly CST.Token[]): CST.Token | null {
  const stack = tokens.map(token => ({ token, depth: 0 })).reverse();
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    const { token, depth } = next;
    if (depth > deepest) return token;
    for (const child of childrenOf(token).reverse()) stack.push({ token: child, depth: depth + 1 });
  }
  return null;
}

function childrenOf(token: CST.Token): CST.Token[] {
  if (token.type === 'document') return token.value ? [token.value] : [];
  if (!('items' in token)) return [];
  return token.items.flatMap(item =>
    [item.key, item.value].filter(child => child !== undefined && child !== null),
  );
}
