/**
 * `node --import=tsx test/hosts/one.ts COMMAND…` runs a command as root in a host of its own, booted for it, with this
 * checkout at its path and what npm installed there on PATH; it ends with the command's exit code. Variables whose names
 * begin with HOP3_ are handed on.
 */
import { join } from 'node:path';
import { CHECKOUT, inCheckout } from './checkout.ts';
import { Host, makeNetwork, PATH } from './host.ts';
import { hostsDirectory, inAWorldOfItsOwn } from './inside.ts';
import { debianTree, provideTools, whyNot } from './tree.ts';

const root = join(import.meta.dirname, '../..');
const command = process.argv.slice(2);
process.env['PATH'] = PATH;

if (process.env['HOP3_HOSTS_DIRECTORY'] !== undefined) process.exit(await insideOneHost());
const reason = command.length === 0 ? 'no command given' : whyNot();
if (reason !== null) {
  process.stderr.write(`error: ${reason}\n`);
  process.exit(2);
}
await provideTools();
await debianTree(join(root, '.cache/hosts'));
process.exit(await inAWorldOfItsOwn(import.meta.filename, command));

async function insideOneHost(): Promise<number> {
  const host = new Host({
    name: 'hop3-1',
    address: '10.87.0.11',
    tree: await debianTree(join(root, '.cache/hosts')),
    directory: hostsDirectory(),
    binds: CHECKOUT,
  });
  await makeNetwork('10.87.0.1');
  await host.make();
  await host.start();
  const own = Object.entries(process.env).filter(
    ([name]) => name.startsWith('HOP3_') && !name.startsWith('HOP3_HOSTS_'),
  );
  const code = await host.attach(inCheckout(command, Object.fromEntries(own)));
  await host.powerOff();
  return code;
}
