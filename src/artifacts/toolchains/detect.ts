import type { AppSpec } from '../../model/app-spec.ts';
import { ArtifactError } from '../../ports/artifacts.ts';
import { goToolchain } from './go.ts';
import { nodeToolchain } from './node.ts';
import { pythonToolchain } from './python.ts';
import type { Toolchain } from './toolchain.ts';

/** Nothing of its own: only the app's commands, if it has any. */
function plain(name: string): Toolchain {
  return {
    name,
    recognises: () => Promise.resolve(true),
    recipe: (_directory, spec) =>
      Promise.resolve({
        commands: spec.build.build,
        env: {},
        pathPrepend: [],
        runtimeEnv: {},
      }),
  };
}

const staticToolchain = plain('static');
const genericToolchain = plain('generic');

/** In the order in which Hop3 tries them. */
const DETECTED = [pythonToolchain, nodeToolchain, goToolchain];
const KNOWN = [...DETECTED, staticToolchain, genericToolchain];

/** @throws ArtifactError for a toolchain that the manifest names and nobody here knows */
export async function toolchainFor(directory: string, spec: AppSpec): Promise<Toolchain> {
  const { toolchain } = spec.build;
  if (toolchain === 'auto') return detect(directory, spec);
  const known = KNOWN.find(candidate => candidate.name === toolchain);
  if (known) return known;
  // With commands of its own the app says itself how it is built.
  if (spec.build.build.length > 0) return genericToolchain;
  throw new ArtifactError(
    `there is no builder for the toolchain "${toolchain}": use ${KNOWN.map(({ name }) => name).join(', ')}, ` +
      'or say in build.build how it is built',
    { retryable: false },
  );
}

async function detect(directory: string, spec: AppSpec): Promise<Toolchain> {
  for (const candidate of DETECTED) {
    if (await candidate.recognises(directory)) return candidate;
  }
  const isStatic = spec.processes.length > 0 && spec.processes.every(process => process.kind === 'static');
  return isStatic ? staticToolchain : genericToolchain;
}
