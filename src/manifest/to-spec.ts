import type {
  AddonSpec,
  AppSpec,
  BuildSpec,
  CronSpec,
  EnvValue,
  HealthcheckSpec,
  ProcessSpec,
  SourceSpec,
} from '../model/app-spec.ts';
import type { AppManifest } from './app-manifest.ts';
import { cronOfLine, cronOfTable, timeZoneOf } from './cron.ts';
import { defaults } from './defaults.ts';
import type { Declared, ProcessSettings } from './processes.ts';
import type { EnvInput } from './sections.ts';
import type { Tree } from './tree.ts';
import { bytesOf, hostnamesIn } from './words.ts';

/** What both formats have in common once their schema has accepted them. */
export type AppData = Partial<Omit<AppManifest, 'kind' | 'metadata'>> & {
  metadata?: Omit<AppManifest['metadata'], 'id'> | undefined;
  provider?: AppManifest['addons'];
};

export interface Told {
  app: string;
  data: AppData;
  /** For values as their author wrote them. */
  tree: Tree;
  declared: Declared;
  /** Of an ENV file; the manifest's own values win. */
  envFile: ReadonlyMap<string, string>;
}

/** The spec that checked data means. Trusts its input: everything has been validated. */
export function toSpec(told: Told): AppSpec {
  const { app, data, declared } = told;
  const env = envOf(told);
  const { HOST_NAME: hostName, ...variables } = env;
  const inDomains = data.domains?.list.map(name => name.toLowerCase());
  const inEnv = hostName?.kind === 'literal' ? hostnamesIn(hostName.value) : [];
  const isName = hostName === undefined || hostName.kind === 'literal';
  return {
    app,
    title: data.metadata?.title ?? null,
    version: data.metadata?.version ?? null,
    source: sourceOf(data.source),
    build: buildOf(data, declared),
    beforeRun: declared.hooks.beforeRun,
    processes: processesOf(data, declared),
    crons: cronsOf(data, declared, timeZoneOf(env)),
    env: isName ? variables : env,
    hostnames: inDomains ?? inEnv,
    healthcheck: healthcheckOf(data),
    restart: {
      policy: data.restart?.policy ?? defaults.restart.policy,
      max: data.restart?.max ?? defaults.restart.max,
    },
    limits: {
      memoryBytes: data.limits?.memory === undefined ? null : bytesOf(data.limits.memory),
      cpu: data.limits?.cpu ?? null,
      processes: data.limits?.processes ?? null,
    },
    placement: { requires: data.placement?.requires ?? {}, spread: data.placement?.spread ?? null },
    dependsOn: data['depends-on'] ?? [],
    deploy: {
      strategy: data.deploy?.strategy ?? defaults.deploy.strategy,
      maxSurge: data.deploy?.['max-surge'] ?? defaults.deploy.maxSurge,
      maxUnavailable: data.deploy?.['max-unavailable'] ?? defaults.deploy.maxUnavailable,
      healthyDeadlineSeconds: data.deploy?.['healthy-deadline'] ?? defaults.deploy.healthyDeadlineSeconds,
      ...given('canaryShare', data.deploy?.['canary-share']),
      ...given('bakeSeconds', data.deploy?.['bake-time']),
      ...given('promote', data.deploy?.promote),
    },
    ports: (data.ports ?? []).map(port => ({
      number: port.number,
      protocol: port.protocol ?? 'tcp',
      name: port.name ?? null,
      ...given('process', port.process),
      ...(port.http === true ? { http: true } : {}),
    })),
    volumes: (data.volumes ?? []).map(volume => ({ name: volume.name, target: volume.target })),
    addons: [...(data.addons ?? []), ...(data.provider ?? [])].map(addon => addonOf(app, addon)),
  };
}

/** Also of a process that is not named: the one that the source may turn out to have. */
export function settingsOf(data: AppData, type: string): ProcessSettings {
  // Data are in one place, and two copies would share them; what has fixed ports is mostly like that, unless it is said.
  const hasData = (data.volumes ?? []).length > 0;
  const exclusive = hasData || (data.exclusive?.includes(type) ?? (data.ports ?? []).length > 0);
  const stopTimeoutSeconds = exclusive ? defaults.exclusiveStopTimeoutSeconds : defaults.stopTimeoutSeconds;
  return {
    scale: data.scale?.[type] ?? 1,
    exclusive,
    startTimeoutSeconds: data.run?.['start-timeout'] ?? defaults.startTimeoutSeconds,
    stopTimeoutSeconds: data.run?.['stop-timeout'] ?? stopTimeoutSeconds,
  };
}

function sourceOf(source: AppData['source']): SourceSpec | null {
  if (source?.path !== undefined) return { kind: 'path', path: source.path };
  if (source?.git !== undefined)
    return { kind: 'git', url: source.git.url, ref: source.git.ref ?? defaults.gitRef };
  if (source?.archive !== undefined) return { kind: 'archive', ...source.archive };
  return source?.uploaded === undefined ? null : { kind: 'uploaded', digest: source.uploaded };
}

function buildOf({ build }: AppData, { hooks }: Declared): BuildSpec {
  return {
    builder: build?.builder ?? 'auto',
    toolchain: build?.toolchain ?? 'auto',
    beforeBuild: hooks.beforeBuild,
    build: hooks.build,
    afterBuild: hooks.afterBuild,
    ignore: build?.ignore ?? [],
    pipInstall: build?.['pip-install'] ?? [],
  };
}

function processesOf(data: AppData, { web, workers }: Declared): ProcessSpec[] {
  const worker = { kind: 'command' as const, directory: '', routed: false };
  return [
    ...(web === null ? [] : [{ type: 'web', ...web, routed: true, ...settingsOf(data, 'web') }]),
    ...[...workers].map(([type, command]) => ({ type, ...worker, command, ...settingsOf(data, type) })),
  ];
}

function cronsOf({ crons = {} }: AppData, declared: Declared, timeZone: string): CronSpec[] {
  return [
    ...[...declared.crons].map(([name, line]) => cronOfLine(name, line, timeZone)),
    ...Object.entries(crons).map(([name, table]) => cronOfTable(name, table, timeZone)),
  ];
}

function envOf({ data, tree, envFile }: Told): Record<string, EnvValue> {
  const values = new Map<string, EnvValue>();
  for (const [name, value] of envFile) values.set(name, { kind: 'literal', value });
  for (const [name, value] of Object.entries(data.env ?? {})) {
    if (name === 'computed' || name === '_policy') continue;
    const read = envValueOf(value as EnvInput, tree.textOf(['env', name]));
    if (read !== null) values.set(name, read);
  }
  for (const [name, template] of Object.entries(data.env?.computed ?? {})) {
    values.set(name, { kind: 'computed', template });
  }
  return Object.fromEntries(values);
}

function envValueOf(value: EnvInput, written: string | null): EnvValue | null {
  if (typeof value === 'string') return { kind: 'literal', value };
  // 1.10 must not become 1.1: the author's own text, where there is one.
  if (typeof value !== 'object') return { kind: 'literal', value: written ?? String(value) };
  if ('generate' in value) {
    const format = value.generate;
    const length = format === 'uuid' ? undefined : value.length;
    return {
      kind: 'generated',
      format,
      length: length ?? defaults.secretLength(format),
      prefix: value.prefix ?? '',
    };
  }
  if (!('key' in value)) return null;
  if (value.from !== undefined) return { kind: 'from-addon', addon: value.from, key: value.key };
  return { kind: 'from-app', key: value.key as 'domain' | 'hostname' | 'name' };
}

function healthcheckOf({ healthcheck, run }: AppData): HealthcheckSpec {
  return {
    path: healthcheck?.path ?? run?.healthcheck ?? null,
    contains: healthcheck?.contains ?? null,
    intervalSeconds: healthcheck?.interval ?? defaults.healthcheck.intervalSeconds,
    timeoutSeconds:
      healthcheck?.timeout ?? run?.['healthcheck-timeout'] ?? defaults.healthcheck.timeoutSeconds,
    failureThreshold:
      healthcheck?.['failure-threshold'] ?? healthcheck?.retries ?? defaults.healthcheck.failureThreshold,
  };
}

/** Older files have the type in `name`. */
function addonOf(app: string, addon: { type?: string | undefined; name?: string | undefined }): AddonSpec {
  if (addon.type === undefined) return { type: addon.name ?? '', name: app };
  return { type: addon.type, name: addon.name ?? app };
}

/** Nothing, for what was not said. */
function given<K extends string, V>(key: K, value: V | undefined): { [key in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [key in K]: V });
}
