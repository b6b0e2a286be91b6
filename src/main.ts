#!/usr/bin/env node
import { runCli } from './cli/program.ts';
import { processIo } from './cli/process-io.ts';
import { VERSION } from './main/version.ts';

/** The one entry. Daemons are loaded only when asked for, so that commands start fast. */
const io = processIo(VERSION, {
  run: async (options, signal) => (await import('./main/run-node.ts')).runNode(options, signal),
  dev: async (options, signal) => (await import('./main/dev-cluster.ts')).devCluster(options, signal),
  etcdDefects: async version => (await import('./store/known-defects.ts')).knownDefects(version),
});
process.exitCode = await runCli(process.argv.slice(2), io);
// What a failed start left open must not keep a finished command alive.
setTimeout(() => process.exit(), 3000).unref();
