import { processIo } from '../../src/cli/process-io.ts';
import { runCli } from '../../src/cli/program.ts';

/** The command line as a process of its own, without daemons. Run with `node --import=tsx`. */
const noDaemon = () => Promise.resolve(0);
const noCluster = () => Promise.reject(new Error('no cluster here'));
process.exitCode = await runCli(
  process.argv.slice(2),
  processIo('0.0.0-test', {
    run: noDaemon,
    dev: noDaemon,
    clusterInit: noCluster,
    clusterJoin: noCluster,
    etcdDefects: () => Promise.resolve([]),
  }),
);
