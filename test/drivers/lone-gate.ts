/** A process of its own that brings a command to its gate and no further: `lone-gate DIRECTORY COMMAND`, says the pid. */
import { gatedCommand, spawnGated } from '../../src/drivers/gated-spawn.ts';
import { outputFilesFor } from '../../src/drivers/output-files.ts';
import { clock, launch } from './helpers.ts';

const [directory = '', command = ''] = process.argv.slice(2);
const files = outputFilesFor(directory, 'unit', clock.timestamp());
const gated = await spawnGated(launch({ command, directory }), gatedCommand(command), files, undefined);
process.stdout.write(`${gated.pid}\n`);
setInterval(() => undefined, 1000);
