import { hostname } from 'node:os';
import type { RunOptions } from '../cli/daemon.ts';
import { CliFailure, EXIT } from '../cli/failure.ts';
import { defaultStateDir } from '../cli/state-dir.ts';
import { readNodeConfig } from '../manifest/node-config.ts';
import type { NodeConfig } from '../model/node-config.ts';
import { optionalText } from './optional-text.ts';

const DEFAULT_FILE = '/etc/hop3/agent.yaml';

/** File, environment and flags together. @throws CliFailure with every problem, and the text that they are in */
export async function nodeConfiguration(
  { configFile, flags }: RunOptions,
  env: Readonly<Record<string, string | undefined>>,
): Promise<NodeConfig> {
  const file = configFile ?? DEFAULT_FILE;
  const text = await optionalText(file);
  if (text === null && configFile !== null) {
    throw new CliFailure(EXIT.notFound, `${file}: there is no such file`);
  }
  const facts = { hostname: hostname(), stateDir: defaultStateDir(env) };
  const { config, problems } = readNodeConfig(text === null ? null : file, text, env, flags, facts);
  if (config !== null) return config;
  throw new CliFailure(EXIT.failed, 'the configuration is not right', {
    problems,
    sources: new Map(text === null ? [] : [[file, text]]),
  });
}
