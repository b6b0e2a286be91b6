import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { lossyStream } from '../../src/platform/standard-error.ts';

test('what can not be written is lost, and told when something can', t => {
  const written: string[] = [];
  let full = false;
  const stream = lossyStream(bytes => {
    if (full) throw new Error('no space left on device');
    written.push(bytes.toString());
  });
  stream.write('one\n');
  full = true;
  stream.write('two\n');
  stream.write('three\n');
  full = false;
  stream.write('four\n');
  t.deepEqual(written, [
    'one\n',
    'hop3-agent: 2 lines of this log could not be written: no space left on device\n',
    'four\n',
  ]);
});

test('an agent whose log can not be written lives on', async t => {
  const log = join(import.meta.dirname, '../../src/platform/log.ts');
  const program = `
    const { winstonLog } = await import(${JSON.stringify(log)});
    const log = winstonLog({ level: 'info', format: 'json' });
    for (let line = 0; line < 5; line++) {
      log.info('into a full disk');
      await new Promise(resolve => setTimeout(resolve, 5));
    }
    process.stdout.write('alive');`;
  const full = openSync('/dev/full', 'w');
  const child = spawn(process.execPath, ['--import=tsx', '--input-type=module', '--eval', program], {
    stdio: ['ignore', 'pipe', full],
  });
  closeSync(full);
  let said = '';
  child.stdout?.on('data', (bytes: Buffer) => (said += bytes.toString()));
  const [code] = (await once(child, 'close')) as [number];
  t.is(code, 0);
  t.is(said, 'alive');
});
