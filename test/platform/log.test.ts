import test from 'ava';
import { PassThrough } from 'node:stream';
import { defaultLogFormat, winstonLog, type LogFormat, type LogLevel } from '../../src/platform/log.ts';
import { redacted } from '../../src/platform/redact.ts';
import type { Log } from '../../src/ports/log.ts';

function capture(format: LogFormat, level: LogLevel = 'debug'): { log: Log; lines: () => string[] } {
  const stream = new PassThrough();
  const log = winstonLog({ level, format, fields: { node: 'node-1' }, stream });
  return {
    log,
    lines: () =>
      ((stream.read() as Buffer | null) ?? Buffer.alloc(0))
        .toString()
        .split('\n')
        .filter(line => line !== ''),
  };
}

test('JSON has one object a line, with the fields of the log, its child and the message', t => {
  const { log, lines } = capture('json');
  log.child({ room: 'proxy' }).info('proxy is ready', { pid: 7 });
  const [line] = lines().map(text => JSON.parse(text) as Record<string, unknown>);
  t.like(line, { level: 'info', message: 'proxy is ready', node: 'node-1', room: 'proxy', pid: 7 });
  t.regex(String(line!['time']), /^\d{4}-\d\d-\d\dT.*Z$/);
});

test('a field named message or level does not disturb the message or the level', t => {
  const { log, lines } = capture('json');
  log.warn('constant', { message: 'mine', level: 'silly', time: 'now' });
  const line = JSON.parse(lines()[0]!) as Record<string, unknown>;
  t.is(line['message'], 'constant');
  t.is(line['level'], 'warn');
  t.not(line['time'], 'now');
});

test('what is below the level is not written', t => {
  const { log, lines } = capture('text', 'warn');
  log.debug('a');
  log.info('b');
  log.warn('c');
  log.error('d');
  t.deepEqual(
    lines().map(line => line.split(' ')[1]),
    ['warn', 'error'],
  );
});

test('an error keeps its code and its causes, and people read them without stacks', t => {
  const cause = Object.assign(new Error('connect refused'), { code: 'ECONNREFUSED' });
  const error = new Error('cannot reach the store', { cause });
  const json = capture('json');
  json.log.error('round failed', { error });
  const line = JSON.parse(json.lines()[0]!) as { error: { cause: Record<string, unknown>; stack: string } };
  t.like(line.error, { message: 'cannot reach the store', cause: { code: 'ECONNREFUSED' } });
  t.regex(line.error.stack, /log\.test/);

  const text = capture('text');
  text.log.error('round failed', { error });
  t.regex(
    text.lines().join('\n'),
    /round failed node=node-1 error="cannot reach the store \(because: connect refused\)"$/,
  );
});

test('the journal gets a priority prefix and one line', t => {
  const { log, lines } = capture('journal');
  log.error('two\nlines', { reason: 'x y' });
  log.info('fine');
  log.debug('detail');
  t.deepEqual(lines(), [
    '<3>two lines node=node-1 reason="x y"',
    '<6>fine node=node-1',
    '<7>detail node=node-1',
  ]);
});

test('the format follows where the output goes', t => {
  t.is(defaultLogFormat({ JOURNAL_STREAM: '8:1' }, false), 'journal');
  t.is(defaultLogFormat({}, true), 'text');
  t.is(defaultLogFormat({}, false), 'json');
});

const names: Record<string, boolean> = {
  password: true,
  adminPassword: true,
  token: true,
  tokens: true,
  accessToken: true,
  SECRET_KEY: true,
  'api-key': true,
  privateKey: true,
  Authorization: true,
  'set-cookie': true,
  DB_PASSWORD: true,
  key: false,
  mapKey: false,
  fencingToken: false,
  hostname: false,
  tokenBase: false,
};
for (const [name, secret] of Object.entries(names)) {
  test(`a field named ${name} is ${secret ? 'hidden' : 'shown'}, however deep`, t => {
    const shown = redacted({ outer: [{ [name]: 'v' }], map: new Map([[name, 'v']]) });
    const expected = secret ? '[redacted]' : 'v';
    t.deepEqual(shown, { outer: [{ [name]: expected }], map: { [name]: expected } });
  });
}

test('passwords inside URLs are masked', t => {
  t.deepEqual(redacted({ url: 'postgres://app:s3cret@db:5432/x' }), {
    url: 'postgres://app:[redacted]@db:5432/x',
  });
});

test('what JSON cannot hold is written all the same', t => {
  const circle: Record<string, unknown> = { name: 'a' };
  circle['self'] = circle;
  const hostile = {
    get boom(): never {
      throw new Error('no');
    },
  };
  const { log, lines } = capture('json');
  log.info('odd', {
    circle,
    big: 12n,
    bytes: Buffer.from('abc'),
    set: new Set([1]),
    hostile,
    date: new Date(0),
    twice: [circle, circle],
  });
  t.like(JSON.parse(lines()[0]!), {
    circle: { name: 'a', self: '[circular]' },
    big: '12',
    bytes: '[3 bytes]',
    set: [1],
    hostile: '[unreadable: Error: no]',
    date: '1970-01-01T00:00:00.000Z',
  });
});
