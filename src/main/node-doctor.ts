import { execFile } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { ProcessDriver } from '../drivers/process-driver.ts';
import type { NodeConfig } from '../model/node-config.ts';
import type { Doctor } from '../model/views.ts';
import { tools as knownTools, type ToolName } from '../platform/tool.ts';
import { findOnPath, installedTool } from '../platform/tools.ts';
import type { Log } from '../ports/log.ts';
import type { Store } from '../ports/store.ts';
import { certificateChecks } from './certificate-checks.ts';

type Check = Doctor['checks'][number];

const GIT_ANSWERS_MS = 10_000;

/** What an operator would look at first: the store, the machine's tools, what limits can be held. */
export async function nodeDoctor(parts: {
  config: NodeConfig;
  store: Store;
  processes: Pick<ProcessDriver, 'limitsEnforceable'>;
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
  const defects = description.knownDefects.map((message, index, { length }): Check => ({
    name: 'etcd version',
    status: 'warn',
    message,
    hint:
      index < length - 1 ? null : "the agent's design survives them; a fixed version is safer and quicker",
  }));
  const writable = await access(config.stateDir, constants.W_OK).then(
    () => true,
    () => false,
  );
  const enforceable = await processes.limitsEnforceable();
  const missing = Object.entries(enforceable).filter(([, can]) => !can);
  const tools = await Promise.all([
    ...(config.etcd.kind === 'managed' ? [toolCheck('etcd', config.stateDir)] : []),
    ...(config.roles.includes('proxy') ? [toolCheck('haproxy', config.stateDir)] : []),
    gitCheck(),
  ]);
  return [
    ...etcd,
    ...defects,
    ...(await certificateChecks(config, new Date())),
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
    ...tools,
  ];
}

/** The one that this node would start, which is not always the one on PATH. */
async function toolCheck(name: ToolName, stateDir: string): Promise<Check> {
  const hint = knownTools[name].advice;
  try {
    const found = await installedTool({ name, stateDir, env: process.env });
    if (found === null) return { name, status: 'fail', message: 'not found', hint };
    return { name, status: 'ok', message: `${found.version} (${found.path})`, hint: null };
  } catch (error) {
    return { name, status: 'fail', message: (error as Error).message, hint };
  }
}

async function gitCheck(): Promise<Check> {
  const path = await findOnPath('git', process.env['PATH']);
  if (path === null) {
    const message = 'not found: sources from git are refused';
    return { name: 'git', status: 'warn', message, hint: 'install the package git' };
  }
  try {
    const { stdout } = await promisify(execFile)(path, ['--version'], { timeout: GIT_ANSWERS_MS });
    const version = /\d+\.\d+(\.\d+)?/.exec(stdout)?.[0] ?? 'of unknown version';
    return { name: 'git', status: 'ok', message: `${version} (${path})`, hint: null };
  } catch (error) {
    const message = `${path} does not run: ${(error as Error).message}`;
    return { name: 'git', status: 'fail', message, hint: 'install the package git' };
  }
}
