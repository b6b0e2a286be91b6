#!/usr/bin/env node
import { setFlagsFromString } from 'node:v8';
import { runCli } from './cli/program.ts';
import { processIo } from './cli/process-io.ts';
import { VERSION } from './main/version.ts';

/** The one entry. Daemons are loaded only when asked for, so that commands start fast. */
const io = processIo(VERSION, {
  run: async (options, signal) => {
    // An agent makes little garbage, slowly: V8 would let its young generation grow to 48 MiB before it looks. Kept at its
    // first size, an agent with 20 instances takes about 40 MiB less, and its pauses are shorter.
    setFlagsFromString('--semi-space-growth-factor=1');
    // What is so small is collected in half a millisecond by one thread. Several wait for each other, and on a machine that has
    // other things to do, as when ten apps start at once, for 10 ms and more.
    setFlagsFromString('--no-parallel-scavenge');
    // Each start would say that etcd's IP address is given as its name in TLS, which is grpc-js's doing, and harmless.
    process.noDeprecation = true;
    return (await import('./main/run-node.ts')).runNode(options, signal);
  },
  dev: async (options, signal) => (await import('./main/dev-cluster.ts')).devCluster(options, signal),
  clusterInit: async options => (await import('./main/cluster-init.ts')).clusterInit(options),
  clusterJoin: async (options, signal) =>
    (await import('./main/cluster-join.ts')).clusterJoin(options, signal),
  etcdDefects: async version => (await import('./store/known-defects.ts')).knownDefects(version),
});
process.exitCode = await runCli(process.argv.slice(2), io);
// What a failed start left open must not keep a finished command alive.
setTimeout(() => process.exit(), 3000).unref();
