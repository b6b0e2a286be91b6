import test from 'ava';
import { isLoopback } from '../../src/model/node-config.ts';

const hosts: [string, boolean][] = [
  ['localhost', true],
  ['LOCALHOST', true],
  ['127.0.0.1', true],
  ['127.3.2.1', true],
  ['::1', true],
  ['[::1]', true],
  ['0.0.0.0', false],
  ['::', false],
  ['10.0.0.1', false],
  ['127.0.0.1.example.com', false],
  ['localhost.example.com', false],
  ['127.evil', false],
  ['', false],
];
for (const [host, expected] of hosts) {
  test(`only this host reaches "${host}": ${expected}`, t => t.is(isLoopback(host), expected));
}
