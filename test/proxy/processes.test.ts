import test from 'ava';
import { masterOf } from '../../src/proxy/processes.ts';

const master = { pid: 40, parent: 1 };
const worker = { pid: 42, parent: 40 };
const former = { pid: 41, parent: 40 };

test('the master is the parent of the worker that answers', t => {
  t.is(masterOf(42, [former, worker, master]), 40);
});

test('a worker is not taken for the master while that replaces itself, and is not seen', t => {
  t.is(masterOf(42, [worker]), null);
  t.is(masterOf(42, [former, worker]), null);
});

test('a worker whose master is gone has none, whoever else runs', t => {
  t.is(
    masterOf(42, [
      { ...worker, parent: 1 },
      { pid: 50, parent: 1 },
    ]),
    null,
  );
  t.is(masterOf(42, [master, former]), null);
});
