import { requireAccepted } from '../apps/ask-first.ts';
import { handOver, tellApplied } from '../apps/hand-over.ts';
import { loadApps } from '../apps/load-apps.ts';
import { requireSound } from '../apps/require-sound.ts';
import { uploadSources } from '../apps/upload-sources.ts';
import type { CommandContext } from '../context.ts';
import { CliFailure, EXIT, usageFailure } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import { appName, appNameRule, envNamePattern, envNameRule, hostname } from '../../manifest/words.ts';
import type { AppSpec, EnvValue } from '../../model/app-spec.ts';
import { readScales } from './scale.ts';

export async function deploy(context: CommandContext, call: Invocation): Promise<number> {
  const changes = readChanges(call);
  const directory = call.optionalArgument(0) ?? '.';
  const loaded = await loadApps(context, [directory], spec => changed(spec, changes));
  const [app, second] = await requireSound(context, loaded);
  if (app === undefined || second !== undefined) {
    throw new CliFailure(EXIT.failed, `${directory} is not one app`, {
      hint: 'hop3-agent apply FILE… takes manifests',
    });
  }
  const specs = await uploadSources(context, [app], packed => requireAccepted(context, packed, loaded));
  const applied = await handOver(context, specs, loaded);
  await tellApplied(context, applied, call.number('timeout') ?? 300);
  return EXIT.ok;
}

/** What the command line says over what the files say. */
interface Changes {
  app: string | null;
  env: Record<string, string>;
  scales: Record<string, number>;
  hostnames: string[];
}

function readChanges(call: Invocation): Changes {
  const app = call.text('app');
  if (app !== null && !appName.safeParse(app).success) {
    throw usageFailure(`"${app}" is not an app name`, appNameRule);
  }
  const env = call.pairs('env');
  const badName = Object.keys(env).find(name => !envNamePattern.test(name));
  if (badName !== undefined) throw usageFailure(`"${badName}" is not the name of a variable`, envNameRule);
  const hostnames = call.list('host');
  const badHost = hostnames.find(name => !hostname.safeParse(name).success);
  if (badHost !== undefined) throw usageFailure(`"${badHost}" is not a host name`, 'as in www.example.com');
  return { app, env, hostnames, scales: readScales(call.list('scale')) };
}

function changed(spec: AppSpec, { app, env, scales, hostnames }: Changes): AppSpec {
  const types = spec.webSettings ? ['web'] : spec.processes.map(process => process.type);
  const unknown = Object.keys(scales).find(type => !types.includes(type));
  if (unknown !== undefined) {
    const has = types.length > 0 ? types.join(', ') : 'none';
    throw usageFailure(`${spec.app} has no process type "${unknown}"`, `it has ${has}`);
  }
  const literals = Object.entries(env).map(([name, value]): [string, EnvValue] => [
    name,
    { kind: 'literal', value },
  ]);
  return {
    ...spec,
    app: app ?? spec.app,
    env: { ...spec.env, ...Object.fromEntries(literals) },
    hostnames: hostnames.length > 0 ? [...new Set(hostnames)] : spec.hostnames,
    processes: spec.processes.map(process => ({ ...process, scale: scales[process.type] ?? process.scale })),
    ...(spec.webSettings
      ? { webSettings: { ...spec.webSettings, scale: scales['web'] ?? spec.webSettings.scale } }
      : {}),
  };
}
