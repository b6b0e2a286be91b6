import test from 'ava';
import { reservation } from '../../src/placement/reservation.ts';
import { appSpec, processSpec } from '../support/nouns.ts';

const mebibyte = 1024 * 1024;
const files = processSpec({ kind: 'static', command: '' });
const limits = { memoryBytes: 512 * mebibyte, cpu: 0.5, processes: null };

test('without limits a process sets aside 128 MiB and a tenth of a core', t => {
  t.deepEqual(reservation(appSpec()), { memoryBytes: 128 * mebibyte, cpu: 0.1 });
});

test('limits are what is set aside, one by one', t => {
  t.deepEqual(reservation(appSpec({ limits })), { memoryBytes: 512 * mebibyte, cpu: 0.5 });
  t.deepEqual(reservation(appSpec({ limits: { ...limits, cpu: null } })), {
    memoryBytes: 512 * mebibyte,
    cpu: 0.1,
  });
});

test('static files need next to nothing', t => {
  t.deepEqual(reservation(appSpec({ processes: [files] })), { memoryBytes: 16 * mebibyte, cpu: 0.01 });
});

test('of an app with both, each process sets aside its own', t => {
  const both = appSpec({ processes: [files, processSpec({ type: 'worker' })], limits });
  t.is(reservation(both, files).memoryBytes, 16 * mebibyte);
  t.is(reservation(both, both.processes[1]).memoryBytes, 512 * mebibyte);
  t.is(reservation(both).memoryBytes, 512 * mebibyte);
});
