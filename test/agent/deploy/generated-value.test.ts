import test from 'ava';
import type { EnvValue } from '../../../src/model/app-spec.ts';
import { generatedValue } from '../../../src/agent/deploy/generated-value.ts';
import { FakeRandom } from '../../support/fake-random.ts';

type Generated = Extract<EnvValue, { kind: 'generated' }>;

/** As Hop3 writes them: bytes as text, but for a password. */
const cases: { format: Generated['format']; length: number; is: RegExp }[] = [
  { format: 'hex', length: 32, is: /^[0-9a-f]{64}$/ },
  { format: 'hex', length: 1, is: /^[0-9a-f]{2}$/ },
  { format: 'base64', length: 32, is: /^[A-Za-z0-9+/]{43}=$/ },
  { format: 'urlsafe', length: 32, is: /^[\w-]{43}$/ },
  { format: 'urlsafe', length: 5, is: /^[\w-]{7}$/ },
  { format: 'password', length: 24, is: /^[a-zA-Z2-9]{24}$/ },
  { format: 'uuid', length: 36, is: /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/ },
];
for (const { format, length, is } of cases) {
  test(`${format} of ${length} is ${is.source}, after its prefix, and never the same again`, t => {
    const random = new FakeRandom();
    const value: Generated = { kind: 'generated', format, length, prefix: 'key-' };
    const made = generatedValue(value, random);
    t.true(made.startsWith('key-'));
    t.regex(made.slice('key-'.length), is);
    t.not(generatedValue(value, random), made);
  });
}
