import { isUtf8 } from 'node:buffer';
import type { StepOutput } from '../model/plan.ts';
import type { Blobs } from '../ports/blobs.ts';

/** A step's record is a value of the store, with many beside it: what is longer goes to where blobs are. */
const INLINE_BYTES = 4096;

/** JSON as what it says, other text as a string; what is neither, or is long, as the digest of its bytes; of no bytes nothing. */
export async function outputOf(
  content: { mimeType: string; bytes: Uint8Array },
  blobs: Blobs,
): Promise<StepOutput | null> {
  const { mimeType, bytes } = content;
  if (bytes.length === 0) return null;
  if (bytes.length > INLINE_BYTES || !isUtf8(bytes)) return blobs.put(bytes);
  const text = Buffer.from(bytes).toString('utf8');
  return { value: isJson(mimeType) ? parsedOr(text) : text };
}

function isJson(mimeType: string): boolean {
  return /^application\/(?:[^;]*\+)?json\s*(?:;|$)/i.test(mimeType);
}

/** What calls itself JSON and is not is kept as it came, and so is what would not survive: long numbers would be rounded. */
function parsedOr(text: string): unknown {
  if (/\d{16}/.test(text)) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
