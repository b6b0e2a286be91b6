/** A process of its own that brings a command to its gate twice and no further: `lone-spawner DIRECTORY COMMAND`, says the pids. */
import { outputFilesFor } from '../../src/drivers/output-files.ts';
import { spawner } from '../../src/drivers/spawner.ts';
import { clock, launch } from './helpers.ts';

const [directory = '', command = ''] = process.argv.slice(2);
const spawns = spawner();
const files = outputFilesFor(directory, 'unit', clock.timestamp());
const first = await spawns.spawn(launch({ command, directory }), files, undefined);
const second = await spawns.spawn(launch({ command, directory }), files, undefined);
process.stdout.write(`${first.pid} ${second.pid}\n`);
setInterval(() => undefined, 1000);
