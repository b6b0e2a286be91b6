const TOKEN =
  /[ \t\r\n]*(?:([{}[\],:])|("(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\d.])|true|false|null)/y;

/** What may come next: in an object or list that has just begun, it may also end at once. */
type Expected = 'value' | 'first-value' | 'key' | 'first-key' | 'colon' | 'more' | 'end';

/**
 * Where a text stops being JSON (RFC 8259), as an offset; null when it is JSON. JSON.parse knows, but on Node 20 it
 * tells of many mistakes only a few characters around them.
 */
export function jsonMistake(text: string): number | null {
  const open: ('{' | '[')[] = [];
  let expected: Expected = 'value';
  let offset = 0;
  while (expected !== 'end' || offset < text.length) {
    TOKEN.lastIndex = offset;
    const found = TOKEN.exec(text);
    if (found === null) {
      const rest = text.slice(offset).search(/[^ \t\r\n]/);
      if (rest === -1) return expected === 'end' ? null : text.length;
      return offset + rest;
    }
    const [whole, mark, string] = found;
    const next = after(expected, mark ?? (string === undefined ? 'scalar' : 'string'), open);
    if (next === null) return offset + whole.search(/[^ \t\r\n]/);
    expected = next;
    offset += whole.length;
  }
  return null;
}

/** What is expected after this token, or null when it was not expected itself. */
function after(expected: Expected, token: string, open: ('{' | '[')[]): Expected | null {
  const closed = () => (open.length === 0 ? 'end' : 'more');
  const inside = open.at(-1);
  if (expected === 'colon') return token === ':' ? 'value' : null;
  if (expected === 'more' && token === ',') return inside === '{' ? 'key' : 'value';
  if (expected === 'more' || expected === 'first-key' || expected === 'first-value') {
    if (token === (inside === '{' ? '}' : ']')) {
      open.pop();
      return closed();
    }
  }
  if (expected === 'key' || expected === 'first-key') return token === 'string' ? 'colon' : null;
  if (expected !== 'value' && expected !== 'first-value') return null;
  if (token === 'string' || token === 'scalar') return closed();
  if (token !== '{' && token !== '[') return null;
  open.push(token);
  return token === '{' ? 'first-key' : 'first-value';
}
