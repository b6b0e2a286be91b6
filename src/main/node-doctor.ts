import { access, constants } from 'node:fs/promises';
import type { ProcessDriver } from '../drivers/process-driver.ts';
import type { NodeConfig } from '../model/node-config.ts';
import type { Doctor } from '../model/views.ts';
import { findOnPath } from '../platform/tools.ts';
import type { Log } from '../ports/log.ts';
import type { Store } from '../ports/store.ts';

type Check = Doctor['checks'][number];

/** What an operator would look at first: the store, the machine's tools, what limits can be held. */
export async function nodeDoctor(parts: {
  config: NodeConfig;
  store: Store;
  processes: ProcessDriver;
  log: Log;
}): Promise<Check[]> {
  const { config, store, processes } = parts;
  const description = await store.describe();
  const etcd = description.endpoints.map((endpoint): Check => {
    const name = `etcd ${endpoint.url}`;
    if (!endpoint.reachable) {
      return {
        name,
        status: 'fail',
        message: endpoint.error ?? 'does not answer',
        hint: 'is it running, and may this node reach it?',
      };
    }
    return {
      name,
      status: 'ok',
      message: `version ${endpoint.version ?? 'unknown'}${endpoint.isLeader ? ', leader' : ''}`,
      hint: null,
    };
  });
  const defects = description.knownDefects.map((message): Check => ({
    name: 'etcd version',
    status: 'warn',
    message,
    hint: 'etcd 3.5.28 or 3.6.9 and later are recommended',
  }));
  const writable = await access(config.stateDir, constants.W_OK).then(
    () => true,
    () => false,
  );
  const enforceable = await processes.limitsEnforceable();
  const missing = Object.entries(enforceable).filter(([, can]) => !can);
  const git = await findOnPath('git', process.env['PATH']);
  return [
    ...etcd,
    ...defects,
    writable
      ? { name: 'state directory', status: 'ok', message: config.stateDir, hint: null }
      : {
          name: 'state directory',
          status: 'fail',
          message: `${config.stateDir} can't be written`,
          hint: 'give it to the user the agent runs as',
        },
    missing.length === 0
      ? { name: 'limits', status: 'ok', message: 'memory, cpu and processes can be enforced', hint: null }
      : {
          name: 'limits',
          status: 'warn',
          message: `can't be enforced here: ${missing.map(([limit]) => limit).join(', ')}`,
          hint: 'apps that declare them are refused on this node; run the agent as root with writable cgroups',
        },
    git === null
      ? {
          name: 'git',
          status: 'warn',
          message: 'not found: sources from git are refused',
          hint: 'install the package git',
        }
      : { name: 'git', status: 'ok', message: git, hint: null },
  ];
}
