import { isMap, parseDocument } from 'yaml';
import { fieldOf } from './tree.ts';

/** A value that the configuration should have, as the file would say it. */
export interface WantedSetting {
  path: string[];
  value: unknown;
}

export interface CompletedConfig {
  text: string;
  /** Fields that were not there, in the order asked for. */
  added: string[];
  /** Fields that say something else, which is left as it is. */
  kept: { field: string; is: unknown; wanted: unknown }[];
}

/**
 * The text of a node's configuration with what it lacks, its comments and order as they were; null = no file yet. A text that is no mapping is given back as it is:
 * reading it says what is wrong.
 */
export function completeNodeConfig(text: string | null, wanted: WantedSetting[]): CompletedConfig {
  const document = parseDocument(text ?? '');
  const completed: CompletedConfig = { text: text ?? '', added: [], kept: [] };
  const readable = document.contents === null || isMap(document.contents);
  if (document.errors.length > 0 || !readable) return completed;
  for (const { path, value } of wanted) {
    const field = fieldOf(path);
    const is = plain(document.getIn(path));
    if (is === undefined) {
      document.setIn(path, document.createNode(value));
      completed.added.push(field);
    } else if (!same(is, value)) {
      completed.kept.push({ field, is, wanted: value });
    }
  }
  return completed.added.length > 0 ? { ...completed, text: document.toString({ lineWidth: 0 }) } : completed;
}

/** What the text says at that place; undefined when it says nothing, or can't be read. */
export function settingOf(text: string | null, path: string[]): unknown {
  const document = parseDocument(text ?? '');
  return document.errors.length > 0 || !isMap(document.contents) ? undefined : plain(document.getIn(path));
}

function plain(node: unknown): unknown {
  return typeof node === 'object' && node !== null && 'toJSON' in node && typeof node.toJSON === 'function'
    ? (node.toJSON as () => unknown)()
    : node;
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
