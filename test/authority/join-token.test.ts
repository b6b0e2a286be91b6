import test from 'ava';
import fc from 'fast-check';
import { hashOfToken, joinTokenText, parseJoinToken } from '../../src/authority/join-token.ts';

const bytes = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(b => Buffer.from(b).toString('base64url'));
const token = fc.record({
  secret: bytes,
  fingerprint: bytes,
  endsAt: fc.integer({ min: 1_700_000_000, max: 3_000_000_000 }).map(seconds => new Date(seconds * 1000)),
});

test('property: what is written is what is read', t => {
  fc.assert(fc.property(token, made => t.deepEqual(parseJoinToken(joinTokenText(made)), made)));
});

test('property: a token with any part changed has another hash', t => {
  fc.assert(
    fc.property(token, token, (one, other) => {
      fc.pre(one.secret !== other.secret);
      t.not(hashOfToken(one), hashOfToken({ ...one, secret: other.secret }));
      t.not(hashOfToken(one), hashOfToken({ ...one, endsAt: new Date(one.endsAt.getTime() + 1000) }));
    }),
  );
});

test('property: any text is a token or null', t => {
  fc.assert(fc.property(fc.string(), text => t.is(parseJoinToken(text), null)));
});

test('the hash does not hold the secret', t => {
  const [made] = fc.sample(token, 1);
  t.false(hashOfToken(made!).includes(made!.secret));
});
