import test from 'ava';
import { processOf } from '../../src/model/app-spec.ts';
import { appSpec, processSpec } from '../support/nouns.ts';

test('a process is found by its type, or is null', t => {
  const mailer = processSpec({ type: 'mailer' });
  const spec = appSpec({ processes: [processSpec({ type: 'web' }), mailer] });
  t.is(processOf(spec, 'mailer'), mailer);
  t.is(processOf(spec, 'cron'), null);
});
