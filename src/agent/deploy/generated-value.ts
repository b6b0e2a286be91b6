import type { EnvValue } from '../../model/app-spec.ts';
import type { Random } from '../../ports/random.ts';

type Generated = Extract<EnvValue, { kind: 'generated' }>;

const PASSWORD_LETTERS = 'abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789';

/**
 * A new secret, as Hop3 makes them: `length` counts bytes before they are written as text, and characters only for a
 * password; a uuid has its own.
 */
export function generatedValue({ format, length, prefix }: Generated, random: Random): string {
  return prefix + generated(format, length, random);
}

function generated(format: Generated['format'], length: number, random: Random): string {
  switch (format) {
    case 'uuid':
      return random.uuid();
    case 'hex':
      return random.hex(length);
    case 'base64':
      return Buffer.from(random.hex(length), 'hex').toString('base64');
    case 'urlsafe':
      return Buffer.from(random.hex(length), 'hex').toString('base64url');
    case 'password':
      return Array.from({ length }, () => passwordLetter(random)).join('');
  }
}

/** Two bytes a letter make the modulo's bias less than one in a thousand. */
function passwordLetter(random: Random): string {
  return PASSWORD_LETTERS[Number.parseInt(random.hex(2), 16) % PASSWORD_LETTERS.length] ?? '';
}
